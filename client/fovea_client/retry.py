"""Deadlines and retries as arithmetic: nothing here sleeps or calls."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from fovea_client.errors import DeadlineExceeded, Failure, InvalidInput


@dataclass(frozen=True)
class RetryPolicy:
    """How long to wait before the same request is sent again.

    All verbs only read, so each is safe to repeat. Unavailable and Overloaded are retried, within
    the call's deadline; InvalidInput and ServerError never.

    attempts: most attempts for a request; None means until the deadline.
    first_delay_s, multiplier, max_delay_s: the backoff, exponential and capped.
    jitter: random share of a delay, so that callers do not return in step.
    """

    attempts: int | None = None
    first_delay_s: float = 0.1
    multiplier: float = 2.0
    max_delay_s: float = 2.0
    jitter: float = 0.5

    def delay_s(self, failures: int, draw: float) -> float:
        """Seconds to wait after `failures` failed attempts; `draw` is from [0, 1)."""
        exponent = min(failures - 1, 64)  # a float power of a long outage would overflow
        delay = min(self.first_delay_s * self.multiplier**exponent, self.max_delay_s)
        return delay * (1 - self.jitter * draw)


class Deadline:
    """A point in time that all attempts of a call share; `math.inf` seconds means none."""

    def __init__(self, timeout_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        if not timeout_s > 0:
            raise InvalidInput(f"expected timeout_s > 0, got {timeout_s}")
        self.timeout_s = timeout_s
        self._clock = clock
        self._end = clock() + timeout_s

    def remaining_s(self) -> float:
        """Seconds left; 0 or less if there are none."""
        return self._end - self._clock()


class Attempts:
    """Counts the failures of one request and decides whether and when to try again."""

    def __init__(
        self,
        policy: RetryPolicy,
        deadline: Deadline,
        *,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._policy = policy
        self._deadline = deadline
        self._draw = draw
        self._failures = 0
        self._last: Failure | None = None

    def timeout_s(self) -> float | None:
        """Seconds that the next attempt may take, > 0; None without a deadline."""
        remaining = self._deadline.remaining_s()
        if remaining <= 0:
            if self._last is not None:
                raise self._last.error from self._last.cause
            raise self._too_late("and none left for this request")
        return None if math.isinf(remaining) else remaining

    def delay_after(self, failure: Failure) -> float:
        """Seconds to wait before the next attempt; raises the failure's error if there is none.

        For an attempt that the deadline cut off, it raises the error of the one before.
        """
        self._failures += 1
        if isinstance(failure.error, DeadlineExceeded) and self._last is not None:
            raise self._too_late(f"at first: {self._last.error}") from failure.cause
        self._last = failure
        attempts = self._policy.attempts
        if not failure.retryable or (attempts is not None and self._failures >= attempts):
            raise failure.error from failure.cause
        delay = self._policy.delay_s(self._failures, self._draw())
        if delay >= self._deadline.remaining_s():
            raise failure.error from failure.cause
        return delay

    def _too_late(self, reason: str) -> DeadlineExceeded:
        return DeadlineExceeded(f"no answer within {self._deadline.timeout_s:g} s, {reason}")
