"""How the gateway's benchmark takes turns, and how it uses its samples."""

from __future__ import annotations

import pytest

from benchmarks.questions import Question
from benchmarks.web import in_turns, summary

ASKED = [Question(b"a", ["cat"], (0, 0, 1, 1)), Question(b"b", ["dog"], (0, 0, 1, 1))]


def test_both_sides_get_the_same_pictures_and_either_is_first_as_often():
    calls: list[tuple[str, bytes]] = []
    sides = {side: lambda q, side=side: calls.append((side, q.jpeg)) for side in "cg"}
    seconds = in_turns(sides, ASKED, 4)
    assert [len(values) for values in seconds.values()] == [4, 4]
    pairs = [calls[i : i + 2] for i in range(0, len(calls), 2)]
    assert all({side for side, _ in pair} == {"c", "g"} for pair in pairs)
    assert all(len({jpeg for _, jpeg in pair}) == 1 for pair in pairs)
    assert sorted(pair[0][0] for pair in pairs) == ["c", "c", "g", "g"]


def test_the_overhead_is_between_medians_and_the_ratio_of_each_round():
    alone = {"client": [0.010, 0.020, 0.090], "gateway": [0.013, 0.024, 0.095]}
    rates = {"client": [10.0, 20.0, 40.0], "gateway": [9.0, 19.0, 40.0]}
    result = summary(alone, rates, [0.05, 0.07])
    assert result.overhead_ms_p50 == pytest.approx(4)
    assert result.throughput_ratio == pytest.approx(0.95)
    assert result.click_to_mask_ms_p50 == pytest.approx(60)


def test_without_a_browser_there_are_no_clicks():
    one = {"client": [1.0], "gateway": [1.0]}
    result = summary(one, one, [])
    assert (result.click_to_mask_ms_p50, result.click_to_mask_ms_p95) == (None, None)
