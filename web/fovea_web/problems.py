"""Errors in the form of RFC 9457: one table from an error's class to its status.

The classes are those of `fovea.errors` and `fovea_search.errors`, and the gateway's own:

    Refused
    ├── InvalidParameters   a parameter is missing, unknown, or of another type
    ├── MalformedBody       broken JSON, broken multipart
    ├── UnsupportedBody     neither JSON nor multipart
    ├── NotAPicture         the file does not begin like any known format
    ├── BodyTooLarge        more bytes than the gateway reads
    ├── SlowBody            the body stopped coming
    ├── InvalidUrl          an address that may not be fetched
    ├── FetchFailed         an address that returned no picture
    ├── InvalidKey          no API key, an unknown one, or one that has expired
    ├── UnknownHost         addressed to another name than the gateway's
    ├── RateLimited         more requests than a key or an address may send
    ├── Busy                more requests at once than the gateway takes
    ├── NotFound            no such path or picture
    └── NotAcceptable       the verb has no answer of that form

A class that is not in the table has the status of its nearest base class.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from fovea.errors import FoveaError
from fovea_web.json_text import dump

MEDIA_TYPE = "application/problem+json"
# After this long, a server has restarted, or a queue has moved.
RETRY_AFTER_S = 1


@dataclass(frozen=True)
class Kind:
    """A class of errors over HTTP. retryable: the same request may succeed later."""

    status: int
    title: str
    retryable: bool = False


KINDS: Mapping[str, Kind] = {
    "InvalidInput": Kind(422, "The request is wrong"),
    "InvalidImage": Kind(400, "The picture cannot be read"),
    "NotAPicture": Kind(415, "Not a picture of a known format"),
    "ImageTooLarge": Kind(413, "The picture is too large"),
    "BodyTooLarge": Kind(413, "The request is too large"),
    "UnknownVerb": Kind(404, "This server has no such verb"),
    "OtherMembers": Kind(503, "The index belongs to other models than the served ones"),
    "InvalidStore": Kind(503, "The index cannot be read"),
    "StoreFailed": Kind(503, "The index cannot be read", retryable=True),
    "Overloaded": Kind(429, "The server is busy", retryable=True),
    "DeadlineExceeded": Kind(504, "No answer in time"),
    "Unavailable": Kind(503, "The server is not there", retryable=True),
    "ServerError": Kind(502, "The server failed"),
    "FoveaError": Kind(502, "The server failed"),
    "InvalidParameters": Kind(422, "A parameter is wrong"),
    "MalformedBody": Kind(400, "The body cannot be read"),
    "UnsupportedBody": Kind(415, "The body is of another kind"),
    "SlowBody": Kind(408, "The body came too slowly"),
    "InvalidUrl": Kind(422, "This address is not fetched"),
    "FetchFailed": Kind(422, "The address gave no picture"),
    "InvalidKey": Kind(401, "An API key is needed"),
    "UnknownHost": Kind(421, "Addressed to another host"),
    "RateLimited": Kind(429, "Too many requests", retryable=True),
    "Busy": Kind(429, "Too many requests at once", retryable=True),
    "NotFound": Kind(404, "Not found"),
    "MethodNotAllowed": Kind(405, "Not with this method"),
    "NotAcceptable": Kind(406, "No answer of that form"),
    "Exception": Kind(500, "The gateway failed"),
}


class Refused(Exception):
    """A request that the gateway itself refuses.

    more: further members of the problem. headers: of its answer. retry_after_s: None is
    RETRY_AFTER_S for retryable ones.
    """

    def __init__(
        self,
        message: str,
        *,
        more: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.more, self.headers = dict(more or {}), dict(headers or {})
        self.retry_after_s = retry_after_s


class InvalidParameters(Refused):
    """`more["errors"]` lists them."""


class MalformedBody(Refused):
    pass


class UnsupportedBody(Refused):
    pass


class NotAPicture(Refused):
    pass


class BodyTooLarge(Refused):
    pass


class SlowBody(Refused):
    pass


class InvalidUrl(Refused):
    pass


class FetchFailed(Refused):
    pass


class InvalidKey(Refused):
    pass


class UnknownHost(Refused):
    pass


class RateLimited(Refused):
    pass


class Busy(Refused):
    pass


class NotFound(Refused):
    pass


class MethodNotAllowed(Refused):
    pass


class NotAcceptable(Refused):
    pass


def kind_of(error: BaseException) -> tuple[str, Kind]:
    """The table's row for an error, and the name of the class that the row is for."""
    for one in type(error).__mro__:
        if one.__name__ in KINDS:
            return one.__name__, KINDS[one.__name__]
    return "Exception", KINDS["Exception"]


def slug(name: str) -> str:
    """ "InvalidImage" -> "invalid-image"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def explain(name: str) -> dict[str, Any] | None:
    """The meaning of a problem's type, by its slug; None if the table lacks it."""
    for one, kind in KINDS.items():
        if slug(one) == name:
            told = {"title": kind.title, "status": kind.status, "retryable": kind.retryable}
            return {"type": f"/problems/{name}", **told}
    return None


def to_problem(error: BaseException) -> dict[str, Any]:
    """The problem details of an error; internal failures are not revealed."""
    _, kind = kind_of(error)
    known = isinstance(error, (FoveaError, Refused))
    name = type(error).__name__ if known else "InternalError"
    problem = {
        "type": f"/problems/{slug(name)}",
        "title": kind.title,
        "status": kind.status,
        "detail": str(error) if known else "unexpected: see the log of the gateway",
    }
    return problem | (error.more if isinstance(error, Refused) else {})


def to_headers(error: BaseException) -> dict[str, str]:
    """Headers of the answer: when to retry, and the error's own."""
    _, kind = kind_of(error)
    headers = dict(error.headers) if isinstance(error, Refused) else {}
    if kind.retryable:
        wait_s = error.retry_after_s if isinstance(error, Refused) else None
        headers["Retry-After"] = str(RETRY_AFTER_S if wait_s is None else max(1, wait_s))
    return headers


def to_response(error: BaseException) -> Response:
    """The answer to a failed request."""
    problem = to_problem(error)
    return Response(dump(problem), problem["status"], to_headers(error), MEDIA_TYPE)
