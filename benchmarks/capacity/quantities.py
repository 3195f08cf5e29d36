"""Times, rates and prices as people write them on a command line."""

from __future__ import annotations

import math
import re

from benchmarks.capacity.errors import InvalidQuantity

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+) *(us|ms|s|min)")


def duration_s(text: str) -> float:
    """Seconds of a text such as `300ms`, `1.5s` or `2 min`; a bare number has no unit.

    Raises:
        InvalidQuantity: no number, no unit, or not above 0 (`delay_s` takes 0 as well).
    """
    seconds = delay_s(text)
    if seconds == 0:
        raise InvalidQuantity(f"expected a time above 0, got {text!r}")
    return seconds


def delay_s(text: str) -> float:
    """Like `duration_s`, but `0ms` and a bare `0` are fine."""
    stripped = text.strip().lower()
    if stripped == "0":
        return 0.0
    match = _DURATION.fullmatch(stripped)
    if match is None:
        raise InvalidQuantity(
            f"expected a time with its unit, such as 300ms (us, ms, s, min), got {text!r}"
        )
    return float(match[1]) * _SECONDS[match[2]]


def rate(text: str) -> float:
    """Requests per second: a number above 0, `500` or `500/s`.

    Raises:
        InvalidQuantity: anything else.
    """
    return _positive(text.strip().removesuffix("/s"), "a rate of requests per second")


def price(text: str) -> tuple[str, float]:
    """`KIND=DOLLARS` per machine and hour.

    Raises:
        InvalidQuantity: anything else.
    """
    kind, equals, dollars = text.partition("=")
    if not equals or not kind.strip():
        raise InvalidQuantity(f"expected KIND=DOLLARS an hour, got {text!r}")
    return kind.strip(), _positive(dollars, f"the price of {kind.strip()}")


def _positive(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InvalidQuantity(f"expected {what}, got {text!r}") from None
    if not (math.isfinite(value) and value > 0):
        raise InvalidQuantity(f"expected {what} above 0, got {text!r}")
    return value
