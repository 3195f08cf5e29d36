"""Batch curves from the real server."""

import time
from dataclasses import replace

import grpc
import numpy as np
import pytest
from fovea_client.statistics import read_statistics
from tritonclient.grpc import service_pb2

from benchmarks.capacity.curves import StepMeter, at_once, own_processes, walk
from benchmarks.capacity.measure import BUSY_CALLERS, Effort, measure
from benchmarks.capacity.repository import copy_with_delay, read_steps
from benchmarks.capacity.simulation import closed_loop
from benchmarks.questions import VERBS, questions
from benchmarks.targets import open_wire
from demo.served import demo_server, export_demo

pytestmark = pytest.mark.server

# Long enough that simultaneous requests meet on any machine.
DELAY_US = 500_000
MAIN_OBJECT = next(verb for verb in VERBS if verb.name == "main_object")


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("waiting") / "models"
    return copy_with_delay(export_demo(), folder, DELAY_US)


@pytest.fixture(scope="module")
def server(repository):
    with demo_server(repository) as running:
        yield running


@pytest.fixture(scope="module")
def infer(server):
    with open_wire(server.grpc_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def given(infer, repository):
    (question,) = questions([930_000])
    return walk(infer, repository, MAIN_OBJECT.request(question))


def test_the_walk_has_the_inputs_of_every_step(given):
    steps = read_steps(export_demo(), MAIN_OBJECT.name, gpu=False)
    assert set(given) == {step.model for step in steps}
    (pixels,) = given["clip_image_encoder"].inputs
    assert (pixels.name, pixels.datatype) == ("pixel_values", "UINT8")


def test_requests_at_once_become_one_batch(server, infer, given):
    before = read_statistics(server.grpc_url)["clip_image_encoder"]
    at_once(infer, [given["clip_image_encoder"]] * 4)
    deadline = time.monotonic() + 5
    while (after := read_statistics(server.grpc_url)["clip_image_encoder"]) == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)  # Triton answers before it counts
    spent = after.since(before).batches
    assert {size: batch.executions for size, batch in spent.items() if batch.executions} == {4: 1}
    assert 0 < spent[4].compute_s <= spent[4].total_s


def test_a_failed_request_is_not_taken_for_a_measurement(infer, given):
    wrong = service_pb2.ModelInferRequest()
    wrong.CopyFrom(given["clip_image_encoder"])
    wrong.inputs[0].datatype = "FP32"
    with pytest.raises(grpc.RpcError, match="data-type"):
        at_once(infer, [wrong])


def test_each_instance_is_a_process(server):
    assert len(own_processes(server.pid, "preprocess_image")) == 2
    assert len(own_processes(server.pid, "clip_image_encoder")) == 1


def test_a_step_is_measured_at_every_size(server, infer, given):
    steps = {s.model: s for s in read_steps(export_demo(), MAIN_OBJECT.name, gpu=False)}
    step = steps["clip_rank_labels_for_grounding_dino"]
    url, pid = server.grpc_url, server.pid
    meter = StepMeter(infer, url, step, [given[step.model]], server_pid=pid, bursts=1)
    for _ in range(3):
        meter.round()
    curve = meter.measured().curve
    assert curve.batches == (1, 2, 4, 8, 16)
    assert len(curve.threads) == len(curve.batches)


def test_a_machine_is_measured_and_simulated_with_many_callers():
    effort = Effort(rounds=3, bursts=1, pictures=24, alone_requests=4, busy_s=1.0)
    measured = measure(export_demo(), MAIN_OBJECT, effort)
    times = measured.to_times("main_object", "demo checkpoints")
    assert {*times.steps} > {*measured.steps[1:]}
    alone = closed_loop(replace(times, spread=(1.0,)), concurrency=1, count=4)
    # Steps that were measured in a slow moment can take longer than the whole did in another.
    expected_s = max(measured.alone.latency_s, times.alone_s())
    assert alone.latencies_s.mean() == pytest.approx(expected_s, rel=0.5)
    busy = closed_loop(times, concurrency=BUSY_CALLERS, count=500)
    assert busy.rate == pytest.approx(np.mean(measured.busy_rates), rel=0.6)
