"""Batch curves."""

import pytest
from fovea_client.statistics import BatchStatistics

from benchmarks.capacity.curves import batch_sizes, threads, to_curve
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
def test_a_curve_that_is_none_is_refused(batches, seconds):
    with pytest.raises(ValueError, match="expected"):
        BatchCurve(batches, seconds)


def test_alone_a_request_takes_the_longest_way():
    assert diamond().alone_s() == 1 + 3 + 1


def test_measured_sizes_end_with_the_largest():
    assert [batch_sizes(largest) for largest in (1, 6, 8)] == [[1], [1, 2, 4, 6], [1, 2, 4, 8]]


def test_a_curve_is_the_median_of_sizes_that_ran_often_enough():
    bursts = [{1: BatchStatistics(1, seconds, seconds)} for seconds in (1.0, 2.0, 9.0)]
    bursts.append({2: BatchStatistics(1, 3.0, 3.0), 1: BatchStatistics()})
    assert to_curve(bursts) == BatchCurve((1,), (2.0,))


def test_threads_are_processor_time_by_time():
    bursts = [{1: BatchStatistics(2, compute_s=0.8, total_s=1.0)}]
    assert threads(bursts, cpu_s=1.2) == pytest.approx(1.4)
