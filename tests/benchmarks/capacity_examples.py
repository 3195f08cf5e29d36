"""Service times for tests, small enough to know the answer."""

from __future__ import annotations

import numpy as np

from benchmarks.capacity.service_times import BatchCurve, ServiceTimes, Step

ONE_SECOND = BatchCurve((1,), (1.0,))
MANY_CORES = 1000


def exponential_spread() -> tuple[float, ...]:
    """Quantiles of the exponential distribution with mean 1, including its far tail."""
    shares = np.linspace(0, 1, 100_001)
    shares[-1] = 1 - 1e-6
    return tuple((-np.log1p(-shares)).tolist())


def one_step(
    *, curve: BatchCurve = ONE_SECOND, cores: int = MANY_CORES,
    spread: tuple[float, ...] = (1.0,), contention: float = 0.0, **step: object,
) -> ServiceTimes:  # fmt: skip
    """A verb with one model."""
    only = Step("model", (), curve, **step)
    return ServiceTimes(
        "verb", "kind", "models", cores, (only,), contention=contention, spread=spread
    )


def diamond(cores: int = MANY_CORES, **step: object) -> ServiceTimes:
    """Two branches of 2 s and 3 s between a first and a last step of 1 s each."""
    steps = (
        Step("first", (), ONE_SECOND, **step),
        Step("left", ("first",), BatchCurve((1,), (2.0,)), **step),
        Step("right", ("first",), BatchCurve((1,), (3.0,)), **step),
        Step("last", ("left", "right"), ONE_SECOND, **step),
    )
    return ServiceTimes("verb", "kind", "models", cores, steps)
