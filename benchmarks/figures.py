"""Figures with their spread, and the time in which they are taken."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

PERCENTILES = (50, 95, 99)

T = TypeVar("T")


@dataclass(frozen=True)
class Spread:
    """The median of repetitions, the least, the greatest, and all of them in order."""

    median: float
    least: float
    greatest: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Raises ValueError where there are none."""
        kept = tuple(float(value) for value in values)
        if not kept:
            raise ValueError("a spread takes at least one repetition")
        return cls(statistics.median(kept), min(kept), max(kept), kept)

    def text(self, digits: int = 1) -> str:
        """ "12.3 (11.9 to 12.8)", or the figure alone where it was measured once."""
        middle = f"{self.median:,.{digits}f}"
        if len(self.values) < 2:
            return middle
        return f"{middle} ({self.least:,.{digits}f} to {self.greatest:,.{digits}f})"


def percentiles(seconds: Iterable[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds, interpolated between samples; NaN where there are none."""
    values = np.fromiter(seconds, float)
    cuts = np.percentile(values, PERCENTILES) if len(values) else [float("nan")] * 3
    return {f"p{p}_ms": float(1000 * cut) for p, cut in zip(PERCENTILES, cuts, strict=True)}


def timed(call: Callable[..., T], *args: Any, **options: Any) -> tuple[T, float]:
    """The answer and its seconds."""
    start = time.perf_counter()
    return call(*args, **options), time.perf_counter() - start


@dataclass
class Budget:
    """Seconds until `ends`, on a monotonic clock; `left_out` says what did not fit."""

    ends: float
    left_out: list[str] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def of(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Budget:
        """From now on."""
        return cls(clock() + seconds, clock=clock)

    @property
    def left_s(self) -> float:
        """What is left, 0 when it is used up."""
        return max(0.0, self.ends - self.clock())

    def share(self, part: float) -> Budget:
        """A budget of its own with a part of what is left; what it leaves out is noted here."""
        return Budget(self.clock() + part * self.left_s, self.left_out, self.clock)

    def allows(self, seconds: float, what: str) -> bool:
        """Whether that much is left; notes `what` where it is not."""
        if seconds <= self.left_s:
            return True
        note = f"{what} (about {seconds:.0f} s)"
        if note not in self.left_out:
            self.left_out.append(note)
        return False


def powers_of_two(largest: int) -> list[int]:
    """1, 2, 4 … up to `largest`."""
    return [2**i for i in range(largest.bit_length()) if 2**i <= largest]
