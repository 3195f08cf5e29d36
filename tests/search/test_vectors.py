"""The arithmetic of queries."""

from __future__ import annotations

import numpy as np
import pytest
from fovea_search import vectors
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

FLOATS = st.floats(-1, 1, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)
E1, E2, E3 = np.eye(3, dtype=np.float32)


@given(arrays(np.float32, (5, 3), elements=FLOATS))
def test_units_have_length_1_and_zeros_stay(rows) -> None:
    lengths = np.linalg.norm(vectors.unit(rows), axis=1)
    assert np.allclose(lengths, np.any(rows != 0, axis=1), atol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_text_and_image_are_weighed(alpha: float) -> None:
    made = vectors.combine(E1, 2 * E2, None, alpha, 0.5)
    assert made == pytest.approx(vectors.unit((1 - alpha) * E1 + alpha * E2))


def test_a_single_one_is_used_unchanged_whatever_alpha_is() -> None:
    for alpha in (0.0, 1.0):
        assert vectors.combine(E1, None, None, alpha, 0.5) == pytest.approx(E1)
        assert vectors.combine(None, E2, None, alpha, 0.5) == pytest.approx(E2)


def test_unwanted_vectors_are_subtracted() -> None:
    assert vectors.combine(E1, None, E2, 0.5, 0.5) == pytest.approx(vectors.unit(E1 - 0.5 * E2))
    assert vectors.combine(None, None, E2, 0.5, 0.5) == pytest.approx(-E2)


def cloud(centre: np.ndarray, count: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(count, len(centre))) * 0.1
    return vectors.unit((centre + noise).astype(np.float32))


def test_marks_separate_what_the_query_cannot() -> None:
    """The query is as near to the good as to the bad; ten marks separate them."""
    query = vectors.unit(E1)
    good, bad = cloud(E1 + 0.5 * E2, 60, 0), cloud(E1 + 0.5 * E3, 60, 1)
    before = (good @ query)[:, None] > bad @ query
    learnt = vectors.learn(query, good[:5], bad[:5])
    after = (good[5:] @ learnt)[:, None] > bad[5:] @ learnt
    assert 0.3 < before.mean() < 0.7
    assert after.mean() > 0.97
    assert np.linalg.norm(learnt) == pytest.approx(1, abs=1e-5)


def test_one_kind_of_marks_moves_the_query_to_or_from_them() -> None:
    near, far = vectors.learn(E1, E2[None], E2[:0].reshape(0, 3)), None
    far = vectors.learn(E1, E2[:0].reshape(0, 3), E2[None])
    assert near @ E2 > 0 > far @ E2
    assert near @ E1 > 0.7 and far @ E1 > 0.7


def test_marks_without_a_query_are_a_query() -> None:
    good = cloud(E2, 3, 0)
    assert vectors.learn(None, good, good[:0]) @ E2 > 0.9
