"""The check can fail, and what it fits is found again where it is known."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.capacity import check, fit
from benchmarks.capacity.check import Run
from benchmarks.capacity.measure import Measured
from benchmarks.capacity.service_times import BatchCurve, ServiceTimes, Step
from benchmarks.capacity.simulation import closed_loop, open_loop
from benchmarks.loads import poisson_arrivals

MS = 1e-3
BUSY_CALLERS = 16


def step(
    model: str,
    after: tuple[str, ...],
    one: float,
    eight: float,
    threads: float = 1.0,
    instances: int = 1,
) -> Step:
    curve = BatchCurve((1, 8), (one * MS, eight * MS), (threads, threads))
    return Step(model, after, curve, max_batch=8, instances=instances)


STEPS = (
    step("decode", (), 6, 40, instances=2),
    step("left", ("decode",), 10, 40, threads=1.7),
    step("right", ("decode",), 8, 35, threads=1.6),
    step("last", ("left", "right"), 3, 10),
)


@pytest.fixture(scope="module")
def known() -> ServiceTimes:
    """Times whose front waits for 4 ms, with 5 ms of work around the steps and contention 0.2."""
    around = Step(fit.AROUND, (), BatchCurve((1,), (5 * MS,)), instances=0)
    front = Step(fit.FRONT, (), BatchCurve((1,), (4 * MS,), (0.01,)), instances=0)
    behind = (dataclasses.replace(STEPS[0], after=(fit.FRONT,)), *STEPS[1:])
    return ServiceTimes("verb", "kind", "models", 2, (around, front, *behind), contention=0.2)


@pytest.fixture(scope="module")
def alone(known: ServiceTimes) -> fit.OneCaller:
    """What a single caller of a server that behaves exactly like these times sees."""
    load = closed_loop(known, concurrency=1, count=40)
    execution_s = {step.model: load.execution_s[step.model] for step in STEPS}
    cpu_s = 5 * MS + sum(step.work_s(1) for step in STEPS)
    return fit.OneCaller(float(np.mean(load.latencies_s)), execution_s, 5 * MS, cpu_s)


@pytest.fixture(scope="module")
def recorded(known: ServiceTimes, alone: fit.OneCaller) -> tuple[Measured, list[Run]]:
    """What that server would have given, the second load while the machine was a tenth slower."""
    busy = closed_loop(known, concurrency=BUSY_CALLERS, count=2000).rate
    runs = []
    for utilisation, slowdown in ((0.4, 1.0), (0.8, 1.1)):
        rate = utilisation * busy / slowdown
        arrivals = poisson_arrivals(rate, 600 / rate, seed=7)
        executions: dict[str, Counter[int]] = {step.model: Counter() for step in STEPS}

        def count(step: Step, batch: Sequence[object], executions=executions) -> None:
            if step.model in executions:
                executions[step.model][len(batch)] += 1

        load = open_loop(known.scaled(slowdown), arrivals, on_start=count)
        sizes = {name: [*found.items()] for name, found in executions.items()}
        work_s = 5 * MS * len(arrivals) + sum(
            number * step.work_s(size) for step in STEPS for size, number in sizes[step.model]
        )
        run = Run(
            utilisation=utilisation,
            rate=rate,
            arrivals_s=tuple(arrivals.tolist()),
            latencies_s=tuple(load.latencies_s.tolist()),
            queue_s=load.queue_s,
            cpu_s=slowdown * work_s,
            executions=sizes,
        )
        runs.append(run)
    return Measured(STEPS, (alone.latency_s,), alone, (busy,)), runs


def test_what_a_single_caller_shows_is_found_again(known, alone):
    found = fit.to_one_caller(dataclasses.replace(known, steps=STEPS, contention=0.0), alone)
    around, front, *steps = found.steps
    assert (around.model, front.model) == (fit.AROUND, fit.FRONT)
    assert around.work_s(1) == pytest.approx(5 * MS)
    assert found.contention == pytest.approx(0.2, abs=0.01)
    assert front.curve.at(1) == pytest.approx(4 * MS, abs=0.2 * MS)
    assert [step.curve for step in steps] == [step.curve for step in STEPS]


def test_a_load_says_how_fast_the_machine_was(known, recorded):
    measured, runs = recorded
    slowdowns = [run.slowdown(known, measured) for run in runs]
    assert slowdowns == pytest.approx([1.0, 1.1], abs=0.01)


def test_the_spread_has_mean_one():
    quantiles = fit.spread(np.array([1.0, 2.0, 3.0]))
    assert np.mean(quantiles) == pytest.approx(1)
    assert quantiles[-1] / quantiles[0] == pytest.approx(3)


def test_a_right_simulation_passes(known, recorded):
    verdict = check.compare(known, *recorded, tolerance=0.15)
    assert verdict.passed
    assert [row.percentile for row in verdict.comparisons] == [50, 99, 50, 99]
    assert all(abs(row.error) < 0.02 for row in verdict.comparisons)


def test_a_wrong_simulation_fails(known, recorded):
    wrong = tuple(dataclasses.replace(step, max_batch=1) for step in known.steps)
    wrong_times = dataclasses.replace(known, steps=wrong)
    verdict = check.compare(wrong_times, *recorded, tolerance=0.15)
    assert not verdict.passed
    assert max(row.error for row in verdict.comparisons) > 0.15


def test_the_command_ends_with_one_where_the_server_was_slower(recorded, tmp_path):
    measured, runs = recorded
    slower = [
        dataclasses.replace(run, latencies_s=tuple(2 * s for s in run.latencies_s)) for run in runs
    ]
    out = tmp_path / "check.json"
    assert check.finish(measured, slower, 0.15, out) == 1
    assert out.exists() and out.with_suffix(".png").exists()
