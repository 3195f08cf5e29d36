"""What batch curves leave open, from two loads of the real server: one caller, and a full house.

One caller: the time outside the executions (the wire, gRPC, the way between the steps, the
caller itself) becomes a step of its own in front, and the differences between requests become the
spread. A full house: how much slower work is in company than its share of the processor explains.
No latency under an open load goes in: those are what the simulation is judged by.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from benchmarks.capacity.service_times import BatchCurve, ServiceTimes, Step
from benchmarks.capacity.simulation import closed_loop

FRONT = "front"
_QUANTILES = 101
_LEAST_FRONT_S = 1e-5
_CONTENTIONS = (-0.4, 2.0)
_HALVINGS = 10
_BUSY_REQUESTS = 1500
_ROUNDS = 3


def spread(latencies_s: NDArray[np.float64]) -> tuple[float, ...]:
    """Quantiles of the latencies of a single caller, by their mean: mean 1."""
    quantiles = np.quantile(latencies_s, np.linspace(0, 1, _QUANTILES))
    return tuple((quantiles / quantiles.mean()).tolist())


def fit(
    times: ServiceTimes, *, alone_s: float, busy_rate: float, busy_callers: int
) -> ServiceTimes:
    """The same with the front and the contention that explain both loads.

    alone_s: mean latency of one caller. busy_rate: answers per second of `busy_callers`.
    """
    for _ in range(_ROUNDS):  # each depends a little on the other
        times = with_front(times, alone_s)
        times = with_contention(times, busy_rate, busy_callers)
    return with_front(times, alone_s)


def with_front(times: ServiceTimes, alone_s: float) -> ServiceTimes:
    """The same with a step in front that makes a single caller's mean latency `alone_s`."""
    steps = [step for step in times.steps if step.model != FRONT]
    first = {step.model for step in steps if step.after in ((), (FRONT,))}
    bare = [dataclasses.replace(s, after=()) if s.model in first else s for s in steps]
    simulated = closed_loop(
        dataclasses.replace(times, steps=tuple(bare), spread=(1.0,)), concurrency=1, count=4
    )
    front_s = max(alone_s - float(simulated.latencies_s.mean()), _LEAST_FRONT_S)
    front = Step(FRONT, (), BatchCurve((1,), (front_s,)), instances=0)
    behind = [dataclasses.replace(s, after=(FRONT,)) if s.model in first else s for s in bare]
    return dataclasses.replace(times, steps=(front, *behind))


def with_contention(times: ServiceTimes, busy_rate: float, busy_callers: int) -> ServiceTimes:
    """The same with the contention at which so many callers get `busy_rate` answers a second."""
    low, high = _CONTENTIONS
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        candidate = dataclasses.replace(times, contention=middle)
        load = closed_loop(candidate, concurrency=busy_callers, count=_BUSY_REQUESTS)
        low, high = (middle, high) if load.rate > busy_rate else (low, middle)
    return dataclasses.replace(times, contention=(low + high) / 2)
