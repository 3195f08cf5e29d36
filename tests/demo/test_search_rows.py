"""The measures of object search against its truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.search_cutoff import balanced
from demo.search_rows import NOTHING, Rows, average_precision, image_map, recall, text_map

FALLING = -np.arange(10, dtype=np.float32)


def rows_of(things: list[int], vectors: np.ndarray) -> Rows:
    """Rows that show things perfectly; NOTHING fits thing 0 badly."""
    shown = np.array(things, np.int64)
    return Rows(
        [f"id{i}" for i in range(len(shown))],
        [f"picture{i}" for i in range(len(shown))],
        np.zeros((len(shown), 4), np.float32),
        vectors,
        vectors,
        np.where(shown == NOTHING, 0, shown),
        np.where(shown == NOTHING, 0.3, 1.0).astype(np.float32),
    )


def test_a_second_row_of_a_thing_counts_neither_for_nor_against_a_ranking():
    once = average_precision(FALLING[:3], np.array([4, NOTHING, 5]), np.array([4, 5]))
    twice = average_precision(FALLING[:5], np.array([4, 4, NOTHING, 5, 4]), np.array([4, 5]))
    assert once == twice == pytest.approx((1 + 2 / 3) / 2)


def test_a_row_of_nothing_counts_each_time_and_a_missing_thing_is_never_found():
    shows = np.array([NOTHING, NOTHING, 4])
    assert average_precision(FALLING[:3], shows, np.array([4])) == pytest.approx(1 / 3)
    assert average_precision(FALLING[:3], shows, np.array([4, 9])) == pytest.approx(1 / 6)


@given(st.lists(st.integers(NOTHING, 5), min_size=1, max_size=10), st.integers(0, 5))
def test_average_precision_is_a_share_and_perfect_with_all_wanted_first(shows, wanted):
    shown = np.array(shows)
    asked = np.array([wanted])
    scores = (shown == wanted).astype(np.float32)
    expected = float(wanted in shows)
    assert average_precision(scores, shown, asked) == pytest.approx(expected)
    assert 0 <= average_precision(FALLING[: len(shown)], shown, asked) <= 1


def test_recall_counts_each_thing_once_and_by_its_overlap():
    rows = rows_of([1, 1, 2, NOTHING], np.eye(4, dtype=np.float32))
    assert recall(rows, 4, 0.5) == 0.5
    assert recall(rows, 4, 0.2) == 0.75
    assert rows.of({"another"}).ids == []


def test_names_and_examples_find_the_things_of_a_name():
    vectors = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    rows = rows_of([0, 1, 2, NOTHING], vectors)
    labels = ["cat", "cat", "dog"]
    texts = {"cat": vectors[0], "dog": vectors[2], "zebra": vectors[3]}
    assert text_map(rows, vectors, labels, texts) == 1
    assert image_map(rows, vectors, labels, 10) == 1
    swapped = {"cat": vectors[2], "dog": vectors[2]}
    assert text_map(rows, vectors, labels, swapped) < 0.85


def test_a_cut_off_is_chosen_on_some_queries_and_judged_on_the_others():
    scores = np.array([0.9, 0.8, 0.3, 0.2, 0.9, 0.7, 0.4, 0.1], np.float32)
    right = np.array([True, True, False, False, True, False, True, False])
    chosen = np.arange(8) < 4
    threshold, parted = balanced(scores, right, chosen)
    assert threshold == pytest.approx(0.8)
    assert parted == pytest.approx((1 / 2 + 2 / 2) / 2)
