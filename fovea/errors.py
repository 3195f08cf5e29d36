"""The errors that a caller can see, and how they travel through Triton.

    FoveaError
    ├── InvalidInput            the request itself is wrong: sending it again cannot help
    │   ├── InvalidImage        not an image, truncated, of an unknown format
    │   ├── ImageTooLarge       more bytes or more pixels than the server accepts
    │   ├── InvalidAudio        not a WAV file, of another rate, too short, NaN
    │   ├── InvalidText         empty, too long, too many phrases
    │   ├── InvalidPrompt       a box or point outside the picture, NaN, wrong labels
    │   ├── InvalidThreshold    not a number within [0, 1]
    │   ├── InvalidSetting      more or fewer points or objects than the server allows
    │   ├── InvalidTensor       wrong dtype or shape, NaN
    │   └── UnknownVerb         the server is ready and has no such verb
    ├── Overloaded              the queue is full: try again later
    ├── DeadlineExceeded        no answer within the caller's time
    ├── Unavailable             the server cannot be reached, or is starting or stopping
    └── ServerError             the server failed: its fault, not the caller's

Triton carries a status code and a message. An InvalidInput is sent as INVALID_ARGUMENT with
its code in brackets before the message ("[invalid_image] expected …, got …"), so that
`from_message` gives the client the same class back. A message may quote long input: gRPC carries it
in 8 KiB of metadata and would refuse a longer one, so it is cut (`cut`).
"""

from __future__ import annotations

import re
from typing import ClassVar

# gRPC writes a character in up to 12 bytes, and Triton puts the names of models before them.
MESSAGE_CHARS = 500


def cut(message: str) -> str:
    """At most MESSAGE_CHARS characters; "…" stands for the rest."""
    return message if len(message) <= MESSAGE_CHARS else f"{message[: MESSAGE_CHARS - 1]}…"


class FoveaError(Exception):
    """Root of every error that fovea raises on purpose."""


class InvalidInput(FoveaError, ValueError):
    """The request is wrong; the message says what was expected and what came."""

    code: ClassVar[str] = "invalid_input"

    def to_message(self) -> str:
        """The message as it travels: `[code] text`."""
        return cut(f"[{self.code}] {self}")

    @staticmethod
    def from_message(message: str) -> InvalidInput:
        """The error behind a message from the server.

        A message without a known code (Triton's own refusal of a tensor) becomes InvalidTensor.
        """
        match = re.search(r"\[(\w+)\] (.*)", message, re.DOTALL)
        if match is not None:
            for error in _CODED_ERRORS:
                if error.code == match[1]:
                    return error(match[2])
        return InvalidTensor(message)


class InvalidImage(InvalidInput):
    code = "invalid_image"


class ImageTooLarge(InvalidInput):
    code = "image_too_large"


class InvalidAudio(InvalidInput):
    code = "invalid_audio"


class InvalidText(InvalidInput):
    code = "invalid_text"


class InvalidPrompt(InvalidInput):
    code = "invalid_prompt"


class InvalidThreshold(InvalidInput):
    code = "invalid_threshold"


class InvalidSetting(InvalidInput):
    code = "invalid_setting"


class InvalidTensor(InvalidInput):
    code = "invalid_tensor"


class UnknownVerb(InvalidInput):
    """The server is ready but does not serve this verb: it has another deployment."""

    code = "unknown_verb"


# Errors that a step of the server raises; UnknownVerb is the client's own.
_CODED_ERRORS: tuple[type[InvalidInput], ...] = (
    InvalidInput,
    InvalidImage,
    ImageTooLarge,
    InvalidAudio,
    InvalidText,
    InvalidPrompt,
    InvalidThreshold,
    InvalidSetting,
    InvalidTensor,
)


def input_codes() -> tuple[str, ...]:
    """The codes of all InvalidInput errors."""
    return tuple(error.code for error in _CODED_ERRORS)


class Overloaded(FoveaError):
    """The server's queue is full; the request was not started."""


class DeadlineExceeded(FoveaError):
    """No answer came within the deadline."""


class Unavailable(FoveaError):
    """The server cannot be reached, or is starting or stopping."""


class ServerError(FoveaError):
    """The server failed while it worked on a valid request."""
