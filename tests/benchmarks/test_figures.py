"""Medians, percentiles and their text; time budgets on the test's own clock."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Budget, Spread, percentiles, powers_of_two

times = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=200)


@given(times)
def test_a_spread_lies_between_its_least_and_its_greatest(values):
    spread = Spread.of(values)
    assert spread.least == min(values) and spread.greatest == max(values)
    assert spread.least <= spread.median <= spread.greatest
    assert list(spread.values) == values


def test_a_spread_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Spread.of([])


@given(times)
def test_percentiles_ascend_within_the_samples_in_milliseconds(seconds):
    cuts = percentiles(seconds)
    ordered = [cuts["p50_ms"], cuts["p95_ms"], cuts["p99_ms"]]
    assert ordered == sorted(ordered)
    assert 1000 * min(seconds) <= ordered[0] * (1 + 1e-9)
    assert ordered[-1] <= 1000 * max(seconds) * (1 + 1e-9)


def test_percentiles_of_known_samples():
    cuts = percentiles(np.arange(101) / 1000)
    assert cuts == pytest.approx({"p50_ms": 50, "p95_ms": 95, "p99_ms": 99})


def test_percentiles_of_nothing_are_no_numbers():
    assert all(math.isnan(value) for value in percentiles([]).values())


def test_the_text_names_the_spread_only_where_there_is_one():
    assert Spread.of([2.0]).text() == "2.0"
    assert Spread.of([3.0, 1.0, 2.0]).text(0) == "2 (1 to 3)"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_work_beyond_the_budget_is_left_out_and_named_once():
    budget = Budget.of(10, Clock())
    assert budget.allows(10, "all of it")
    assert not budget.allows(11, "too much")
    assert not budget.allows(11, "too much")
    assert budget.left_out == ["too much (about 11 s)"]


def test_a_share_ends_by_its_own_time_and_tells_the_whole():
    clock = Clock()
    budget = Budget.of(10, clock)
    share = budget.share(0.4)
    assert share.left_s == 4
    clock.now += 5
    assert share.left_s == 0 and budget.left_s == 5
    assert not share.allows(1, "a part")
    assert budget.left_out == ["a part (about 1 s)"]


def test_powers_of_two():
    assert powers_of_two(64) == [1, 2, 4, 8, 16, 32, 64]
    assert powers_of_two(6) == [1, 2, 4]
    assert powers_of_two(1) == [1]
