"""What batch curves do not tell, taken from the load of a single caller.

Processor time of the server's own process and of the caller becomes a step beside the others. The
steps of one request take longer when they run together than their shares of the processor explain:
that is the contention. The remaining time (the wire, gRPC, between the steps) becomes a step in
front, and the differences between requests become the spread.

Latencies under an open load are not used: the simulation is judged by those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from benchmarks.capacity.service_times import BatchCurve, ServiceTimes, Step
from benchmarks.capacity.simulation import Simulated, closed_loop

FRONT, AROUND = "front", "around"
_QUANTILES = 101
_LEAST_S = 1e-5
_WAITING = 0.01
_MOST_CONTENTION = 2.0
_PRECISION = 1e-3


@dataclass(frozen=True)
class OneCaller:
    """Means of a single caller's requests.

    execution_s: of each step, by its model. around_s: processor seconds of the server's own process
    and of the caller; 0 where that was not measured.
    """

    latency_s: float
    execution_s: Mapping[str, float]
    around_s: float = 0.0


def spread(latencies_s: NDArray[np.float64]) -> tuple[float, ...]:
    """Quantiles of the latencies of a single caller, divided by their mean."""
    quantiles = np.quantile(latencies_s, np.linspace(0, 1, _QUANTILES))
    return tuple((quantiles / quantiles.mean()).tolist())


def to_one_caller(times: ServiceTimes, alone: OneCaller) -> ServiceTimes:
    """Add the steps around and in front, and the contention, as a single caller shows them.

    The simulation slows everything that runs together by one factor. On a real processor a network
    with a thread for each core loses less, since its threads shared the cores already, and a step
    of one thread loses more. So no contention fits both the latency, which is that of the longest
    way through the steps, and the time of all steps. The result is the one at which both err
    equally, in opposite directions.
    """

    def fitted(contention: float) -> ServiceTimes:
        slowed = replace(times, contention=contention)
        return _with_front(slowed, alone.latency_s, alone.around_s)

    def error(contention: float) -> float:
        simulated = _alone(fitted(contention))
        steps_s = sum(simulated.execution_s[name] for name in alone.execution_s)
        latency = float(simulated.latencies_s.mean()) / alone.latency_s
        return latency + steps_s / sum(alone.execution_s.values()) - 2

    bounds = (0.0, _MOST_CONTENTION)
    best = minimize_scalar(lambda c: abs(error(c)), bounds=bounds, options={"xatol": _PRECISION})
    return fitted(best.x)


def _with_front(times: ServiceTimes, alone_s: float, around_s: float) -> ServiceTimes:
    """Add a step in front that makes a single caller's mean latency `alone_s`.

    Processor time around the steps is a step of one thread beside them, and the front then only
    waits.
    """
    first = {step.model for step in times.steps if not step.after}
    around: tuple[Step, ...] = ()
    if around_s >= _LEAST_S:
        around = (Step(AROUND, (), BatchCurve((1,), (around_s,)), instances=0),)
    bare = _alone(replace(times, steps=(*around, *times.steps)))
    front_s = max(alone_s - float(bare.latencies_s.mean()), _LEAST_S)
    curve = BatchCurve((1,), (front_s,), (_WAITING,) if around else ())
    front = Step(FRONT, (), curve, instances=0)
    behind = [replace(s, after=(FRONT,)) if s.model in first else s for s in times.steps]
    return replace(times, steps=(*around, front, *behind))


def _alone(times: ServiceTimes) -> Simulated:
    """A single caller whose requests are all alike."""
    return closed_loop(replace(times, spread=(1.0,)), concurrency=1, count=4)
