"""What the simulated batcher must never do, whatever arrives."""

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
    {"instances": st.integers(0, 3), "max_batch": st.integers(1, 6)}
)


@settings(max_examples=150, deadline=None)
@given(gaps=arrival_gaps, step=settings_of_steps)
def test_every_request_is_answered_once_in_batches_no_larger_than_allowed(gaps, step):
    times = diamond(cores=2, **step)
    load = open_loop(times, np.cumsum(gaps))
    assert len(load.latencies_s) == len(gaps)
    assert load.refused == 0
    assert (load.latencies_s >= times.alone_s() - 1e-6).all()
    for model in ("first", "left", "right", "last"):
        batches = load.batches[model]
        assert sorted(number for batch in batches for number in batch) == [*range(len(gaps))]
        assert max(map(len, batches)) <= step["max_batch"]


@settings(max_examples=150, deadline=None)
@given(gaps=arrival_gaps, step=settings_of_steps)
def test_a_model_starts_requests_in_the_order_in_which_they_came(gaps, step):
    load = open_loop(one_step(curve=CURVE, **step), np.cumsum(gaps))
    started = [number for batch in load.batches["model"] for number in batch]
    assert started == [*range(len(gaps))]


def test_an_instance_takes_all_requests_that_came_while_it_was_busy():
    times = one_step(curve=CURVE, max_batch=4)
    load = open_loop(times, np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]))
    assert load.batches["model"] == [[0], [1, 2, 3, 4], [5]]


def test_a_full_queue_refuses():
    load = open_loop(one_step(max_queue=2), np.array([0.0, 0.1, 0.2, 0.3]))
    assert load.refused == 1
    assert load.latencies_s == pytest.approx([1.0, 1.9, 2.8])
