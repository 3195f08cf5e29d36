"""What the simulated batcher may never do, whatever arrives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.capacity.service_times import BatchCurve
from benchmarks.capacity.simulation import open_loop
from tests.benchmarks.capacity_examples import diamond, one_step

CURVE = BatchCurve((1, 4), (1.0, 2.0))

arrival_gaps = st.lists(st.floats(0, 3, allow_subnormal=False), min_size=1, max_size=60)
settings_of_steps = st.fixed_dictionaries(
    {
        "instances": st.integers(0, 3),
        "max_batch": st.integers(1, 6),
        "delay_s": st.sampled_from([0.0, 0.25, 2.0]),
    }
)


class Recorder:
    """Notes when which requests started together."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, list[int]]] = []

    def __call__(self, step, batch) -> None:
        self.batches.append((step.model, [request.number for request in batch]))

    def of(self, model: str) -> list[list[int]]:
        return [numbers for name, numbers in self.batches if name == model]


@settings(max_examples=150, deadline=None)
@given(gaps=arrival_gaps, step=settings_of_steps)
def test_every_request_is_answered_once_in_batches_no_larger_than_allowed(gaps, step):
    recorder = Recorder()
    times = diamond(cores=2, **step)
    load = open_loop(times, np.cumsum(gaps), on_start=recorder)
    assert len(load.latencies_s) == len(gaps)
    assert load.refused == 0
    assert (load.latencies_s >= times.alone_s() - 1e-6).all()
    for model in ("first", "left", "right", "last"):
        batches = recorder.of(model)
        assert sorted(number for batch in batches for number in batch) == [*range(len(gaps))]
        assert max(map(len, batches)) <= step["max_batch"]


@settings(max_examples=150, deadline=None)
@given(gaps=arrival_gaps, step=settings_of_steps)
def test_a_model_starts_requests_in_the_order_in_which_they_came(gaps, step):
    recorder = Recorder()
    open_loop(one_step(curve=CURVE, **step), np.cumsum(gaps), on_start=recorder)
    started = [number for batch in recorder.of("model") for number in batch]
    assert started == [*range(len(gaps))]


@settings(max_examples=150, deadline=None)
@given(gaps=arrival_gaps, max_batch=st.integers(2, 6), delay_s=st.sampled_from([0.25, 2.0]))
def test_with_an_instance_free_nobody_waits_longer_than_the_delay(gaps, max_batch, delay_s):
    times = one_step(instances=0, max_batch=max_batch, delay_s=delay_s)
    load = open_loop(times, np.cumsum(gaps))
    longest = times.steps[0].curve.at(max_batch)
    assert load.latencies_s.max() <= longest + delay_s + 1e-6


def test_a_lone_request_waits_for_the_delay():
    load = open_loop(one_step(max_batch=4, delay_s=0.25), np.array([0.0]))
    assert load.p50_s == pytest.approx(1.25)
    assert load.queue_s == pytest.approx(0.25)


def test_a_full_batch_does_not_wait():
    load = open_loop(one_step(curve=CURVE, max_batch=4, delay_s=9.0), np.zeros(4))
    assert load.latencies_s == pytest.approx(np.full(4, 2.0))


def test_without_delay_an_instance_takes_all_that_came_while_it_was_busy():
    recorder = Recorder()
    times = one_step(curve=CURVE, max_batch=4)
    open_loop(times, np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]), on_start=recorder)
    assert recorder.of("model") == [[0], [1, 2, 3, 4], [5]]


def test_who_comes_while_a_released_batch_waits_for_an_instance_joins_it():
    recorder = Recorder()
    times = one_step(curve=CURVE, max_batch=4, delay_s=0.5)
    open_loop(times, np.array([0.0, 0.6, 1.4]), on_start=recorder)
    # Released at 0.5 and 1.1; the instance is busy until 1.5, and takes both then.
    assert recorder.of("model") == [[0], [1, 2]]


def test_a_full_queue_refuses():
    load = open_loop(one_step(max_queue=2), np.array([0.0, 0.1, 0.2, 0.3]))
    assert load.refused == 1
    assert load.latencies_s == pytest.approx([1.0, 1.9, 2.8])
