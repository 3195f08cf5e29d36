"""The load generators against calls of known length."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.loads import Samples, closed_loop, open_loop, poisson_arrivals


def waves(callers: int, count: int) -> Samples:
    """Callers that are all answered together, each second."""
    starts = np.repeat(np.arange(count, dtype=float), callers)
    return Samples(starts, starts + 1, callers)


@pytest.mark.parametrize(("callers", "count"), [(1, 8), (4, 4), (4, 10), (64, 6)])
def test_throughput_counts_answers_per_second_of_busy_callers(callers, count):
    assert waves(callers, count).throughput == pytest.approx(callers)


def test_the_slow_begin_and_end_are_left_out():
    gaps = np.array([5.0] + [1.0] * 8 + [5.0])
    ends = np.cumsum(gaps)
    assert Samples(ends - gaps, ends, callers=1).throughput == pytest.approx(1)
    assert Samples(ends - gaps, ends).throughput == pytest.approx(10 / 18)


def test_without_answers_there_is_no_throughput():
    assert Samples(np.zeros(0), np.zeros(0), 2).throughput == 0


def test_a_closed_loop_has_as_many_requests_at_once_as_callers():
    lock, running, most, numbers = threading.Lock(), 0, 0, []

    def call(number: int) -> None:
        nonlocal running, most
        with lock:
            running, numbers[len(numbers) :] = running + 1, [number]
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    samples = closed_loop(call, 3, seconds=0.0, at_least=20)
    assert most == 3
    assert len(samples.ends_s) >= 20
    assert len(set(numbers)) == len(numbers)
    assert samples.latencies_s.min() >= 0.01


def test_failures_are_counted_and_not_timed():
    def call(number: int) -> None:
        if number % 2:
            raise TimeoutError

    samples = closed_loop(call, 2, seconds=0, at_least=10)
    assert samples.failures["TimeoutError"] == 10 - len(samples.ends_s) >= 4


def test_an_open_loop_keeps_its_times_though_answers_are_slow():
    arrivals = np.arange(10) * 0.005
    samples = open_loop(lambda number: time.sleep(0.1), arrivals)
    assert np.allclose(np.sort(samples.starts_s), arrivals)
    assert (samples.latencies_s >= 0.1).all()
    assert samples.ends_s[-1] < 10 * 0.1


def test_an_open_loop_charges_its_own_delay_to_the_request():
    def call(number: int) -> None:
        time.sleep(0.05 if number == 0 else 0)

    samples = open_loop(call, np.array([-0.5, 0.0]))
    assert samples.latencies_s.max() >= 0.5


@given(rate=st.floats(0.5, 500), seconds=st.floats(0.1, 20), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_poisson_arrivals_ascend_within_the_time_and_are_seeded(rate, seconds, seed):
    arrivals = poisson_arrivals(rate, seconds, seed)
    assert (np.diff(arrivals) >= 0).all()
    assert not len(arrivals) or (arrivals[0] >= 0 and arrivals[-1] <= seconds)
    assert np.array_equal(arrivals, poisson_arrivals(rate, seconds, seed))
    expected = rate * seconds
    assert abs(len(arrivals) - expected) <= 7 * expected**0.5 + 7


def test_gaps_between_poisson_arrivals_are_exponential():
    gaps = np.diff(poisson_arrivals(100, 200, 1))
    assert gaps.mean() == pytest.approx(0.01, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)
    assert (gaps > 0.02).mean() == pytest.approx(np.exp(-2), rel=0.1)
