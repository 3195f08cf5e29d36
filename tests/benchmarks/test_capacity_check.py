"""The check can fail, and what it fits is found again where it is known."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.capacity import check, fit
from benchmarks.capacity.measure import Measured
from benchmarks.capacity.record import Record, Run
from benchmarks.capacity.service_times import BatchCurve, ServiceTimes, Step
from benchmarks.capacity.simulation import closed_loop, open_loop
from benchmarks.loads import poisson_arrivals
from fovea.specs import to_json

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
def record(known: ServiceTimes, alone: fit.OneCaller) -> Record:
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
    return Record(Measured(STEPS, (alone.latency_s,), alone, (busy,)), tuple(runs))


def test_what_a_single_caller_shows_is_found_again(known, alone):
    found = fit.to_one_caller(dataclasses.replace(known, steps=STEPS, contention=0.0), alone)
    around, front, *steps = found.steps
    assert (around.model, front.model) == (fit.AROUND, fit.FRONT)
    assert around.work_s(1) == pytest.approx(5 * MS)
    assert found.contention == pytest.approx(0.2, abs=0.01)
    assert front.curve.at(1) == pytest.approx(4 * MS, abs=0.2 * MS)
    assert [step.curve for step in steps] == [step.curve for step in STEPS]


def test_front_and_contention_are_found_again_from_two_loads(known):
    front = Step(fit.FRONT, (), BatchCurve((1,), (4 * MS,)), instances=0)
    bare = dataclasses.replace(known, steps=(front, *known.steps[2:]))
    found = fit.to_two_loads(
        dataclasses.replace(bare, steps=STEPS, contention=0.0),
        alone_s=float(np.mean(closed_loop(bare, concurrency=1, count=40).latencies_s)),
        busy_rate=closed_loop(bare, concurrency=BUSY_CALLERS, count=2000).rate,
        busy_callers=BUSY_CALLERS,
    )
    assert found.contention == pytest.approx(0.2, abs=0.04)
    assert found.steps[0].curve.at(1) == pytest.approx(4 * MS, abs=0.5 * MS)


def test_a_load_says_how_fast_the_machine_was(known, record):
    slowdowns = [record.slowdown(run, known) for run in record.runs]
    assert slowdowns == pytest.approx([1.0, 1.1], abs=0.01)


def test_the_spread_has_mean_one():
    quantiles = fit.spread(np.array([1.0, 2.0, 3.0]))
    assert np.mean(quantiles) == pytest.approx(1)
    assert quantiles[-1] / quantiles[0] == pytest.approx(3)


def test_a_right_simulation_passes(known, record):
    verdict = check.compare(record, known, tolerance=0.15)
    assert verdict.passed
    assert [row.percentile for row in verdict.comparisons] == [50, 99, 50, 99]
    assert all(abs(row.error) < 0.02 for row in verdict.comparisons)


def test_a_wrong_simulation_fails(known, record):
    wrong = tuple(dataclasses.replace(step, max_batch=1) for step in known.steps)
    verdict = check.compare(record, dataclasses.replace(known, steps=wrong), tolerance=0.15)
    assert not verdict.passed
    assert max(row.error for row in verdict.comparisons) > 0.15


def test_the_command_ends_with_one_where_the_server_was_slower(record, tmp_path, monkeypatch):
    slower = tuple(
        dataclasses.replace(run, latencies_s=tuple(2 * s for s in run.latencies_s))
        for run in record.runs
    )
    path = tmp_path / "record.json"
    path.write_text(to_json(dataclasses.replace(record, runs=slower)))
    out = tmp_path / "check.json"
    monkeypatch.setattr("sys.argv", ["check", "--record", str(path), "--json", str(out)])
    with pytest.raises(SystemExit) as end:
        check.main()
    assert end.value.code == 1
    assert out.exists() and out.with_suffix(".png").exists()
