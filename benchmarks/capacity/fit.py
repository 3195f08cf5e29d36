"""What batch curves leave open, from a load for which nothing is predicted: a single caller.

Processor time of the server's own process and of the caller becomes a step beside the others. How
much longer the steps of one request take in each other's company than their shares of the processor
explain is the contention. What time is left (the wire, gRPC, the way between the steps) becomes a
step in front, and the differences between requests become the spread.

No latency under an open load goes in: those are what the simulation is judged by.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.capacity.service_times import BatchCurve, ServiceTimes, Step
from benchmarks.capacity.simulation import Simulated, closed_loop

FRONT, AROUND = "front", "around"
OWN = (FRONT, AROUND)
_QUANTILES = 101
_LEAST_S = 1e-5
_WAITING = 0.01
_MOST_CONTENTION = 2.0
_HALVINGS = 10


@dataclass(frozen=True)
class OneCaller:
    """Means of a single caller's requests.

    execution_s: of each step, by its model. around_s: processor seconds of the server's own process
    and of the caller. cpu_s: of these and the steps' processes. 0 where that was not measured.
    """

    latency_s: float
    execution_s: Mapping[str, float]
    around_s: float = 0.0
    cpu_s: float = 0.0


def spread(latencies_s: NDArray[np.float64]) -> tuple[float, ...]:
    """Quantiles of the latencies of a single caller, by their mean: mean 1."""
    quantiles = np.quantile(latencies_s, np.linspace(0, 1, _QUANTILES))
    return tuple((quantiles / quantiles.mean()).tolist())


def to_one_caller(times: ServiceTimes, alone: OneCaller) -> ServiceTimes:
    """The same with what is around the steps, contention and front, as a single caller shows them.

    The simulation slows all that runs together by one factor. On a real processor a network with a
    thread for each core loses less, for it has shared the cores with itself before, and a step of
    one thread more. So no contention suits the longest way through the steps, the latency, and all
    steps together; the one is taken at which both err equally, in opposite directions.
    """
    times = with_around(times, alone.around_s)
    low, high = 0.0, _MOST_CONTENTION
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        candidate = with_front(dataclasses.replace(times, contention=middle), alone.latency_s)
        simulated = _alone(candidate)
        latency = float(simulated.latencies_s.mean()) / alone.latency_s
        steps_s = sum(simulated.execution_s[name] for name in alone.execution_s)
        steps = steps_s / sum(alone.execution_s.values())
        low, high = (middle, high) if latency + steps < 2 else (low, middle)
    return with_front(dataclasses.replace(times, contention=low), alone.latency_s)


def with_around(times: ServiceTimes, around_s: float) -> ServiceTimes:
    """The same with a step of one thread beside the others."""
    steps = tuple(step for step in times.steps if step.model != AROUND)
    if around_s < _LEAST_S:
        return dataclasses.replace(times, steps=steps)
    around = Step(AROUND, (), BatchCurve((1,), (around_s,)), instances=0)
    return dataclasses.replace(times, steps=(around, *steps))


def with_front(times: ServiceTimes, alone_s: float) -> ServiceTimes:
    """The same with a step in front that makes a single caller's mean latency `alone_s`.

    Where something is around the steps, that has the processor time, and the front only waits.
    """
    own = [step for step in times.steps if step.model == AROUND]
    steps = [step for step in times.steps if step.model not in OWN]
    first = {step.model for step in steps if step.after in ((), (FRONT,))}
    bare = [dataclasses.replace(s, after=()) if s.model in first else s for s in steps]
    simulated = _alone(dataclasses.replace(times, steps=(*own, *bare)))
    front_s = max(alone_s - float(simulated.latencies_s.mean()), _LEAST_S)
    curve = BatchCurve((1,), (front_s,), (_WAITING,) if own else ())
    front = Step(FRONT, (), curve, instances=0)
    behind = [dataclasses.replace(s, after=(FRONT,)) if s.model in first else s for s in bare]
    return dataclasses.replace(times, steps=(*own, front, *behind))


def _alone(times: ServiceTimes) -> Simulated:
    """A single caller whose requests are all alike."""
    return closed_loop(dataclasses.replace(times, spread=(1.0,)), concurrency=1, count=4)
