"""Passes W3C trace context (https://www.w3.org/TR/trace-context/) on to Triton."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType

PARENT, STATE = "traceparent", "tracestate"
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
# The specification's own minimum for what must be passed on.
_STATE = re.compile(r"[\x20-\x7e]{1,512}")

_current: ContextVar[Mapping[str, str]] = ContextVar("trace", default=MappingProxyType({}))


def follow(headers: Mapping[str, str]) -> None:
    """Make the calls of this task carry a request's trace; an invalid one is ignored."""
    parent, state = headers.get(PARENT, ""), headers.get(STATE, "")
    found: dict[str, str] = {}
    if _PARENT.fullmatch(parent):
        found[PARENT] = parent
        if _STATE.fullmatch(state):
            found[STATE] = state
    _current.set(found)


def current() -> Mapping[str, str]:
    """The headers of the trace that this task follows."""
    return _current.get()
