"""Which masks of a grid are objects."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy import ndimage

from fovea import boxes, everything
from fovea.everything import CHUNK, NMS_IOU, Candidates, Settings

ALL = Settings(1, iou_threshold=0.0, stability_threshold=0.0, min_area=0, max_objects=100)


def candidates(seed: int, points: int) -> Candidates:
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 60, (points, 3, 2))
    corners = np.concatenate([low, low + rng.uniform(1, 40, low.shape)], axis=-1)
    return Candidates(
        rng.uniform(0, 100, (points, 2)).astype(np.float32),
        rng.permutation(3 * points).reshape(points, 3).astype(np.float32) / (3 * points),
        rng.uniform(0, 1, (points, 3)).astype(np.float32),
        rng.uniform(0, 1600, (points, 3)).astype(np.float32),
        corners.astype(np.float32),
    )


@given(st.integers(1, 64), st.integers(1, 4000), st.integers(1, 4000))
def test_the_grid_is_the_middles_of_equal_cells(side, height, width):
    points = everything.point_grid(side, (height, width))
    assert points.shape == (side**2, 2) and points.dtype == np.float32
    grid = points.reshape(side, side, 2)
    assert np.allclose(grid[..., 0], (np.arange(side) + 0.5) * width / side, rtol=1e-5)
    assert np.allclose(grid[..., 1].T, (np.arange(side) + 0.5) * height / side, rtol=1e-5)
    chunks = [*everything.chunked(points)]
    assert len(chunks) == Settings(side, 0, 0, 0, 1).chunks
    assert max(map(len, chunks)) <= CHUNK and np.array_equal(np.concatenate(chunks), points)


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(0, 1), st.floats(0, 1),
    st.integers(0, 1600), st.integers(0, 40),
)  # fmt: skip
def test_what_is_kept_passes_every_threshold_and_overlaps_nothing_better(
    seed, points, iou, stability, area, most
):
    asked = candidates(seed, points)
    kept = everything.keep(asked, Settings(1, iou, stability, area, most))
    of_point, of_mask = kept.T
    for values, least in (
        (asked.iou_scores, iou), (asked.stability, stability), (asked.areas, max(area, 1))
    ):  # fmt: skip
        assert (values[of_point, of_mask] >= np.float32(least)).all()
    passed = (
        (asked.iou_scores >= iou) & (asked.stability >= stability) & (asked.areas >= max(area, 1))
    )
    expected = boxes.non_maximum_suppression(
        asked.boxes_xyxy[passed], asked.iou_scores[passed], NMS_IOU
    )
    assert np.array_equal(kept, np.argwhere(passed)[expected][:most])


@given(
    npst.arrays(np.float32, (12, 16), elements=st.sampled_from([-3.0, -0.5, 0.5, 2.0])),
    st.integers(1, 12), st.integers(1, 16), st.floats(0, 1),
)  # fmt: skip
def test_only_whole_pieces_below_the_share_are_dropped(logits, rows, columns, min_piece):
    kept = everything.without_specks(logits, (rows, columns), min_piece)
    mask = logits[:rows, :columns] > 0
    pieces, count = ndimage.label(mask, np.ones((3, 3)))
    for piece in range(1, count + 1):
        there = pieces == piece
        stays = there.sum() >= min_piece * mask.sum()
        sign = 1 if stays else -1
        assert (kept[:rows, :columns][there] == sign * logits[:rows, :columns][there]).all()
    kept[:rows, :columns][mask] = logits[:rows, :columns][mask]
    assert np.array_equal(kept, logits)


def test_an_empty_mask_is_no_object_whatever_its_score():
    asked = candidates(0, 2)
    asked.areas[:] = 0
    asked.iou_scores[:] = 1
    assert len(everything.keep(asked, ALL)) == 0


def test_the_surest_of_equal_boxes_is_kept():
    asked = candidates(0, 2)
    asked.boxes_xyxy[:] = (10, 10, 30, 30)
    asked.areas[:] = 5
    asked.iou_scores[:] = [[0.1, 0.9, 0.3], [0.4, 0.5, 0.6]]
    assert everything.keep(asked, ALL).tolist() == [[0, 1]]


@pytest.mark.parametrize(("side", "chunks"), [(1, 1), (8, 1), (9, 2), (16, 4), (32, 16)])
def test_a_grid_takes_as_many_calls_as_it_has_chunks(side, chunks):
    assert Settings(side, 0, 0, 0, 1).chunks == chunks
