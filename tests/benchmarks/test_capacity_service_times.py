"""Batch curves."""

import pytest

from benchmarks.capacity.curves import Burst, batch_sizes, to_curve
from benchmarks.capacity.service_times import BatchCurve
from tests.benchmarks.capacity_examples import diamond


def test_a_curve_is_straight_between_and_beyond_its_points():
    curve = BatchCurve((1, 2, 4), (1.0, 1.5, 3.5))
    assert [curve.at(batch) for batch in (1, 2, 3, 4, 6)] == [1.0, 1.5, 2.5, 3.5, 5.5]


def test_one_point_means_that_batches_gain_nothing():
    assert BatchCurve((1,), (2.0,)).at(3) == 6.0


def test_a_larger_batch_never_takes_less_time():
    curve = BatchCurve((1, 4), (1.0, 0.9))
    assert curve.at(2) == curve.at(8) == 1.0


@pytest.mark.parametrize(
    ("batches", "seconds"), [((), ()), ((2,), (1.0,)), ((1, 1), (1.0, 1.0)), ((1,), (0.0,))]
)
def test_an_invalid_curve_is_refused(batches, seconds):
    with pytest.raises(ValueError, match="expected"):
        BatchCurve(batches, seconds)


def test_alone_a_request_takes_the_longest_way():
    assert diamond().alone_s() == 1 + 3 + 1


def test_measured_sizes_end_with_the_largest():
    assert [batch_sizes(largest) for largest in (1, 6, 8)] == [[1], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_a_curve_is_the_median_of_sizes_that_ran_often_enough():
    bursts = {1: [Burst(seconds, seconds) for seconds in (1.0, 2.0, 9.0)], 2: [Burst(3.0, 3.0)]}
    assert to_curve(bursts) == BatchCurve((1,), (2.0,), (1.0,))


def test_threads_are_processor_time_by_time():
    bursts = {1: [Burst(1.0, 1.2)] * 3, 2: [Burst(1.0, 1.6)] * 3}
    assert to_curve(bursts).threads == pytest.approx((1.2, 1.6))


def test_threads_stay_beyond_the_largest_size():
    curve = BatchCurve((1, 2), (1.0, 1.5), (1.2, 1.6))
    assert [curve.threads_at(batch) for batch in (1, 2, 8)] == [1.2, 1.6, 1.6]
    assert BatchCurve((1,), (1.0,)).threads_at(4) == 1.0
