"""A figure with its spread: what repetitions of one measurement gave."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

PERCENTILES = (50, 95, 99)


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
        middle = f"{self.median:.{digits}f}"
        if len(self.values) < 2:
            return middle
        return f"{middle} ({self.least:.{digits}f} to {self.greatest:.{digits}f})"


def percentiles(seconds: Iterable[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds, interpolated between samples; NaN where there are none."""
    values = np.fromiter(seconds, float)
    if not len(values):
        return {f"p{p}_ms": float("nan") for p in PERCENTILES}
    return {f"p{p}_ms": float(1000 * np.percentile(values, p)) for p in PERCENTILES}
