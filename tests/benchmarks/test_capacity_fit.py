"""What a single caller shows is found again where it is known."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.capacity import fit
from benchmarks.capacity.service_times import BatchCurve, ServiceTimes, Step
from benchmarks.capacity.simulation import closed_loop

MS = 1e-3


def step(model: str, after: tuple[str, ...], ms: float, threads: float = 1.0) -> Step:
    return Step(model, after, BatchCurve((1,), (ms * MS,), (threads,)), max_batch=8)


STEPS = (
    step("decode", (), 6),
    step("left", ("decode",), 10, threads=1.7),
    step("right", ("decode",), 8, threads=1.6),
    step("last", ("left", "right"), 3),
)


@pytest.mark.parametrize("contention", [0.0, 0.2, 0.9])
def test_contention_and_the_time_around_the_steps_are_found_again(contention):
    around = Step(fit.AROUND, (), BatchCurve((1,), (5 * MS,)), instances=0)
    front = Step(fit.FRONT, (), BatchCurve((1,), (4 * MS,), (0.01,)), instances=0)
    behind = (replace(STEPS[0], after=(fit.FRONT,)), *STEPS[1:])
    known = ServiceTimes(
        "verb", "kind", "models", 2, (around, front, *behind), contention=contention
    )
    load = closed_loop(known, concurrency=1, count=40)
    execution_s = {step.model: load.execution_s[step.model] for step in STEPS}
    alone = fit.OneCaller(float(np.mean(load.latencies_s)), execution_s, 5 * MS)

    found = fit.to_one_caller(replace(known, steps=STEPS, contention=0.0), alone)
    around, front, *steps = found.steps
    assert (around.model, front.model) == (fit.AROUND, fit.FRONT)
    assert around.curve.at(1) == pytest.approx(5 * MS)
    assert found.contention == pytest.approx(contention, abs=0.01)
    assert front.curve.at(1) == pytest.approx(4 * MS, abs=0.2 * MS)
    assert [step.curve for step in steps] == [step.curve for step in STEPS]


def test_the_spread_has_mean_one():
    quantiles = fit.spread(np.array([1.0, 2.0, 3.0]))
    assert np.mean(quantiles) == pytest.approx(1)
    assert quantiles[-1] / quantiles[0] == pytest.approx(3)
