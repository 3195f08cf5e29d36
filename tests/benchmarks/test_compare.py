"""What counts as a change, and what is noise."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import compare
from benchmarks.compare import Figure
from benchmarks.results import Results, read_results


def one(values: tuple[float, ...], *, more: bool = True) -> dict[str, Figure]:
    return {"it": Figure(values, more)}


def verdict(before: tuple[float, ...], after: tuple[float, ...], *, more: bool = True) -> str:
    (change,) = compare.compare(one(before, more=more), one(after, more=more))
    return change.verdict


STEADY = (100.0, 101.0, 99.0)


def test_a_clear_change_is_named_by_its_direction():
    faster = tuple(1.5 * value for value in STEADY)
    assert verdict(STEADY, faster) == "better"
    assert verdict(faster, STEADY) == "worse"
    assert verdict(STEADY, faster, more=False) == "worse"


def test_a_difference_within_the_rounds_is_the_same():
    assert verdict((100.0, 140.0, 80.0), (110.0, 150.0, 90.0)) == "same"


def test_a_certain_but_small_difference_is_the_same():
    assert verdict((100.0, 100.0, 100.0), (102.0, 102.0, 102.0)) == "same"
    assert verdict((100.0, 100.0, 100.0), (120.0, 120.0, 120.0)) == "better"


def test_one_round_says_nothing():
    assert verdict((100.0,), (200.0, 201.0)) == "unknown"
    assert math.isnan(compare.p_value([1.0], [2.0, 3.0]))


@given(st.lists(st.floats(0.1, 1e4), min_size=2, max_size=9))
def test_a_report_is_the_same_as_itself(values):
    assert verdict(tuple(values), tuple(values)) == "same"


@given(
    st.lists(st.floats(1, 100), min_size=2, max_size=6),
    st.lists(st.floats(1, 100), min_size=2, max_size=6),
)
def test_both_directions_agree(left, right):
    opposite = {"better": "worse", "worse": "better", "same": "same"}
    there, back = verdict(tuple(left), tuple(right)), verdict(tuple(right), tuple(left))
    assert back == opposite[there]


def test_noise_alone_rarely_counts_as_a_change():
    rng = np.random.default_rng(0)
    reports = [{str(i): Figure(tuple(rng.normal(100, 5, 3))) for i in range(300)} for _ in range(2)]
    changes = compare.compare(*reports)
    assert sum(change.verdict != "same" for change in changes) <= 3


def test_figures_are_those_that_both_reports_have():
    before = one(STEADY) | {"gone": Figure(STEADY)}
    assert [change.name for change in compare.compare(before, one(STEADY))] == ["it"]


def test_a_record_of_another_schema_is_refused(tmp_path):
    Results({"set": "demo"}, {}, "now").write(tmp_path)
    assert compare.figures_of(read_results(tmp_path)) == {}
    (tmp_path / "report.json").write_text(json.dumps({"schema": 0}))
    with pytest.raises(ValueError, match="schema"):
        read_results(tmp_path)
