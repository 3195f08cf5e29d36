import contextlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from fovea import masks

MASKS = hnp.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(MASKS)
def test_counts_are_those_of_pycocotools(mask):
    expected = coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    assert masks.encode_rle(mask) == expected


@given(MASKS)
def test_decoding_gives_the_mask_back(mask):
    counts = masks.encode_rle(mask)
    assert np.array_equal(masks.decode_rle(counts, mask.shape), mask)
    assert masks.rle_area(counts) == mask.sum()


@given(MASKS)
def test_the_box_is_the_smallest_around_the_mask(mask):
    left, top, right, bottom = masks.rle_box(masks.encode_rle(mask), mask.shape)
    assert mask[top:bottom, left:right].sum() == mask.sum()
    rows, columns = mask.any(axis=1), mask.any(axis=0)
    assert (bottom - top, right - left) == (
        rows[top:bottom].size and np.ptp(np.flatnonzero(rows)) + 1,
        columns[left:right].size and np.ptp(np.flatnonzero(columns)) + 1,
    )


def test_long_runs_survive():
    mask = np.zeros((3000, 2000), np.bool_)
    mask[1000:2999, 7:1990] = True
    assert np.array_equal(masks.decode_rle(masks.encode_rle(mask), mask.shape), mask)


def test_counts_of_another_size_are_refused():
    counts = masks.encode_rle(np.ones((4, 5), np.bool_))
    with pytest.raises(ValueError, match="expected runs of 30 pixels, got 20"):
        masks.decode_rle(counts, (5, 6))


@given(st.binary(max_size=30))
def test_random_bytes_decode_or_raise_value_error(counts):
    with contextlib.suppress(ValueError):
        masks.decode_rle(counts, (3, 4))


@given(MASKS, st.lists(st.integers(0, 40), max_size=4))
def test_strips_of_columns_are_counted_as_one_mask(mask, cuts):
    bounds = [0, *sorted(min(cut, mask.shape[1]) for cut in cuts), mask.shape[1]]
    strips = [mask.T[start:end] for start, end in pairwise(bounds)]
    assert masks.encode_columns(strips) == masks.encode_rle(mask)
