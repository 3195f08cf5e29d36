"""Batch curves from the real server."""

import time

import pytest

from benchmarks.capacity import check
from benchmarks.capacity.curves import StepCaller, StepMeter, instances
from benchmarks.capacity.measure import Effort, server_of
from benchmarks.capacity.record import Loads, measure
from benchmarks.capacity.repository import copy_with_delay, read_steps
from benchmarks.questions import VERBS, questions
from demo.served import export_demo
from fovea import clip

pytestmark = pytest.mark.server

# So long that requests of one moment meet on any machine.
DELAY_US = 500_000
MAIN_OBJECT = next(verb for verb in VERBS if verb.name == "main_object")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("waiting") / "models"
    return copy_with_delay(export_demo(), folder, DELAY_US)


@pytest.fixture(scope="module")
def server(repository):
    with server_of(repository) as running:
        yield running


@pytest.fixture(scope="module")
def caller(server):
    made = StepCaller(server.grpc_url)
    yield made
    made.close()


@pytest.fixture(scope="module")
def given(caller, repository):
    (question,) = questions([930_000])
    return caller.walk(repository, MAIN_OBJECT.name, next(MAIN_OBJECT.steps(question)))


def test_the_walk_has_the_inputs_of_every_step(given, repository):
    steps = read_steps(repository, MAIN_OBJECT.name, gpu=False)
    assert set(given) == {step.model for step in steps}
    assert given[clip.IMAGE_ENCODER]["pixel_values"].dtype == "uint8"


def test_requests_at_once_become_one_batch(caller, given):
    before = caller.statistics(clip.IMAGE_ENCODER)
    caller.at_once(clip.IMAGE_ENCODER, [given[clip.IMAGE_ENCODER]] * 4)
    deadline = time.monotonic() + 5
    while caller.statistics(clip.IMAGE_ENCODER) == before and time.monotonic() < deadline:
        time.sleep(0.05)  # Triton answers first and counts then
    spent = caller.statistics(clip.IMAGE_ENCODER).since(before).batches
    assert {size: batch.executions for size, batch in spent.items() if batch.executions} == {4: 1}
    assert 0 < spent[4].compute_s <= spent[4].total_s


def test_a_failed_request_is_not_taken_for_a_measurement(caller, given):
    wrong = {"pixel_values": given[clip.IMAGE_ENCODER]["pixel_values"].astype("float32")}
    with pytest.raises(Exception, match="data-type"):
        caller.at_once(clip.IMAGE_ENCODER, [wrong])


def test_each_instance_is_a_process(server):
    assert len(instances(server.pid, "preprocess_image")) == 2
    assert len(instances(server.pid, clip.IMAGE_ENCODER)) == 1


def test_a_step_is_measured_at_every_size(server, caller, given, repository):
    steps = {s.model: s for s in read_steps(repository, MAIN_OBJECT.name, gpu=False)}
    step = steps["rank_labels"]
    meter = StepMeter(caller, step, [given[step.model]], server_pid=server.pid)
    for _ in range(3):
        meter.round()
    curve = meter.measured().curve
    assert curve.batches == (1, 2, 4, 8, 16)
    assert len(curve.threads) == len(curve.batches)


def test_loads_are_recorded_with_all_that_explains_them():
    effort = Effort(rounds=3, pictures=24, alone_requests=4, busy_s=1.0)
    record = measure(Loads([0.3], repetitions=1, requests=6), effort)
    (run,) = record.runs
    assert len(run.latencies_s) == len(run.arrivals_s) > 0
    assert 0.5 < record.slowdown(run, record.times) < 2
    verdict = check.compare(record, record.times, tolerance=0.15)
    assert [row.percentile for row in verdict.comparisons] == [50, 99]
    assert all(row.measured_ms > 0 < row.simulated_ms for row in verdict.comparisons)
