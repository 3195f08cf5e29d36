"""The typed errors of `fovea.errors`, and the translation of gRPC's errors into them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import grpc

from fovea.errors import (
    DeadlineExceeded,
    FoveaError,
    ImageTooLarge,
    InvalidAudio,
    InvalidImage,
    InvalidInput,
    InvalidPrompt,
    InvalidSetting,
    InvalidTensor,
    InvalidText,
    InvalidThreshold,
    Overloaded,
    ServerError,
    Unavailable,
    UnknownVerb,
)
from fovea_client.proxy import describe_proxy

__all__ = [
    "DeadlineExceeded",
    "Failure",
    "FoveaError",
    "ImageTooLarge",
    "InvalidAudio",
    "InvalidImage",
    "InvalidInput",
    "InvalidPrompt",
    "InvalidSetting",
    "InvalidTensor",
    "InvalidText",
    "InvalidThreshold",
    "Overloaded",
    "ServerError",
    "Unavailable",
    "UnknownVerb",
    "names_unknown_model",
    "translate",
]

Status = grpc.StatusCode

# Triton's own words (core/src: dynamic batch scheduler, rate limiter) for a full queue, or one in
# which the request waited too long.
_OVERLOADED = re.compile(r"Exceeds maximum queue size|Request timeout expired")

# Triton's words for a server or a model that is starting or stopping, whatever the status: a dead
# backend process, a model that is being reloaded, a server that stops.
_PASSING = re.compile(
    r"Stub process .*not healthy|not ready|not at ready state|has no available versions"
    r"|Request for unknown model|Server is stopping|unload",
    re.IGNORECASE | re.DOTALL,
)

# Triton 2.51's Python backend fails a whole batch if one request in it has a malformed BYTES
# tensor. This client's tensors are valid, so such a message is about another client's request.
_NEIGHBOURS_FAULT = re.compile(
    r"string (length indicator|data|elements \d+) for inference input", re.IGNORECASE
)

# Triton's words for a tensor that a verb does not take, and for one that it lacks. For TEXT they
# mean that the caller confused the two kinds of detector or classifier; TOP_K is only sent for a
# model's own classes. (Triton 2.51 closes an empty list without opening it.)
_UNWANTED_TEXT = re.compile(
    r"unexpected inference input 'TEXT' for model '(?P<verb>\w+)'"
    r"|for model '(?P<of>\w+)'\. Got input\(s\) \[[^]]*'TEXT'[^]]*\], .* input\(s\) \]"
)
_MISSING_TEXT = re.compile(
    r"for model '(?P<verb>\w+)'.* missing required input\(s\) \[[^]]*'TEXT'"
    r"|unexpected inference input 'TOP_K' for model '(?P<of>\w+)'"
)

# gRPC's own words for an address that it cannot reach.
_UNREACHED = re.compile(r"connect|resol|proxy", re.IGNORECASE)

# CANCELLED and ABORTED, if the caller did not cancel, come from a server that stopped at work.
_PASSING_STATUSES = (Status.UNAVAILABLE, Status.CANCELLED, Status.ABORTED, Status.NOT_FOUND)
# From a gateway that expects other headers: waiting does not help.
_REFUSED_STATUSES = (Status.UNAUTHENTICATED, Status.PERMISSION_DENIED)


@dataclass(frozen=True)
class Failure:
    """A failed attempt's typed error, and whether the same request may succeed later."""

    error: FoveaError
    retryable: bool
    cause: BaseException | None = None


def translate(error: grpc.RpcError, url: str) -> Failure:
    """The typed error behind a gRPC error of a call to `url`."""
    status: grpc.StatusCode = error.code()
    message = error.details() or f"no message, status {status.name}"
    meaning, retryable = _classify(status, message, url)
    return Failure(meaning, retryable, error)


def to_invalid_input(message: str) -> InvalidInput:
    """The error behind a server's refusal of a request, in Triton's words or in a step's."""
    if found := _MISSING_TEXT.search(message):
        return InvalidText(
            f"expected phrases or labels: {found['verb'] or found['of']!r} has no classes of its "
            "own; got none"
        )
    if found := _UNWANTED_TEXT.search(message):
        return InvalidText(
            f"expected no phrases or labels: {found['verb'] or found['of']!r} has classes of its "
            "own; got some"
        )
    return InvalidInput.from_message(message)


def names_unknown_model(error: grpc.RpcError, model: str) -> bool:
    """Whether the server reports that no repository of its has `model`.

    A known model that is not loaded now "has no available versions".
    """
    words = f"Request for unknown model: '{model}' is not found"
    return error.code() is Status.NOT_FOUND and (error.details() or "").startswith(words)


def _classify(status: grpc.StatusCode, message: str, url: str) -> tuple[FoveaError, bool]:
    if _NEIGHBOURS_FAULT.search(message):
        return Unavailable(f"{url}: {message}"), True
    if status is Status.INVALID_ARGUMENT:
        return to_invalid_input(message), False
    if status is Status.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"{url}: {message}"), False
    if status is Status.RESOURCE_EXHAUSTED and "larger than max" in message:
        return ImageTooLarge(message), False
    if status is Status.RESOURCE_EXHAUSTED or _OVERLOADED.search(message):
        return Overloaded(f"{url}: {message}"), True
    if status in _REFUSED_STATUSES:
        return Unavailable(f"{url}: {status.name}: {message}"), False
    if status is Status.UNAVAILABLE and _UNREACHED.search(message):
        proxy = describe_proxy(url)
        return Unavailable(f"{url}: {message}{f'; {proxy}' if proxy else ''}"), True
    if status in _PASSING_STATUSES or _PASSING.search(message):
        return Unavailable(f"{url}: {message}"), True
    return ServerError(f"{url}: {status.name}: {message}"), False
