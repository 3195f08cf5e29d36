"""The measures that choose the crop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.crops import CUTS, average_precision, figures
from demo.evaluate import make_trial


def test_average_precision_is_the_mean_precision_at_each_hit():
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    right = np.array([True, False, True, False])
    assert average_precision(scores, right) == pytest.approx((1 + 2 / 3) / 2)


@given(st.integers(1, 8), st.integers(0, 8))
def test_a_perfect_ranking_has_1_and_the_worst_the_least(hits, misses):
    right = np.array([True] * hits + [False] * misses)
    falling = -np.arange(len(right), dtype=np.float32)
    assert average_precision(falling, right) == 1
    assert average_precision(-falling, right) <= 1


def test_objects_of_a_name_find_each_other_and_single_ones_are_no_queries():
    vectors = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    texts = {"cat": vectors[0], "dog": vectors[2]}
    found = figures(vectors, ["cat", "cat", "dog"], texts)
    assert (found.text, found.image) == (1, 1)


@pytest.mark.parametrize("name", CUTS)
def test_every_crop_shows_the_object(name):
    scene = make_trial(7).scene
    for thing in scene.objects:
        made = CUTS[name](scene.image, thing)
        assert made.ndim == 3 and made.dtype == np.uint8 and made.std() > 0
