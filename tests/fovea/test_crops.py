"""The crop of an object for an embedder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fovea import crops
from fovea.families.sam import Sam, SamSpec, upsample
from fovea.geometry import Geometry
from fovea.images import BICUBIC, Picture

GEOMETRY = Geometry("shortest_edge", (32,), (32, 32), int(BICUBIC), crop=True)
SAM = Sam("sam", SamSpec(64, 8, 8, 32))


@given(
    st.integers(1, 400), st.integers(1, 400),
    st.tuples(*[st.floats(0, 1)] * 2), st.tuples(*[st.floats(0.01, 1)] * 2),
)  # fmt: skip
def test_the_square_holds_the_box_and_lies_in_the_picture_where_it_can(height, width, at, size):
    span = np.array([size[0] * width, size[1] * height])
    low = np.array(at) * (np.array([width, height]) - span)
    box = np.concatenate([low, low + span]).astype(np.float32)
    left, top, right, bottom = crops.square_around(box, (height, width))
    assert right - left == pytest.approx(bottom - top)
    slack = 1e-3 * max(height, width)
    assert left - slack <= box[0] and top - slack <= box[1]
    assert right + slack >= box[2] and bottom + slack >= box[3]
    if right - left <= width:
        assert left >= -slack and right <= width + slack
    if bottom - top <= height:
        assert top >= -slack and bottom <= height + slack


def painted() -> np.ndarray:
    """A red square on stripes, 60 x 80."""
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[:, ::2] = 255
    pixels[20:40, 30:50] = (255, 0, 0)
    return pixels


def cut(pixels: np.ndarray, original_hw: tuple[int, int]) -> np.ndarray:
    """The crop of the red square, in any frame of the picture."""
    scale = original_hw[0] / 60

    def mask_within(square, edge):
        left, top, right, bottom = (side / scale for side in square)
        x = left + (np.arange(edge) + 0.5) * (right - left) / edge
        y = top + (np.arange(edge) + 0.5) * (bottom - top) / edge
        return np.outer((y > 20) & (y < 40), (x > 30) & (x < 50))

    box = np.array([30, 20, 50, 40], np.float32) * scale
    made, valid_hw = crops.crop(pixels, box, original_hw, mask_within, GEOMETRY)
    assert made.shape == (3, 32, 32) and made.dtype == np.uint8
    assert valid_hw.tolist() == [32, 32]
    return made.transpose(1, 2, 0)


def test_the_object_is_sharp_and_its_background_blurred():
    made = cut(painted(), (60, 80)).astype(int)
    assert (abs(made[5:27, 5:27] - (255, 0, 0)) < 12).all()
    stripes = np.abs(np.diff(made[:2, :, 1], axis=1)).max()
    assert stripes < 60


def test_a_picture_that_was_decoded_smaller_gives_the_same_crop():
    large = np.repeat(np.repeat(painted(), 2, axis=0), 2, axis=1)
    expected = cut(painted(), (120, 160)).astype(int)
    assert np.abs(cut(large, (120, 160)) - expected)[5:27, 5:27].max() <= 12


def test_a_long_object_is_cut_with_black_beyond_the_picture():
    pixels = np.full((10, 80, 3), 200, np.uint8)
    box = np.array([0, 0, 80, 10], np.float32)
    made, _ = crops.crop(
        pixels, box, (10, 80), lambda _, edge: np.ones((edge, edge), bool), GEOMETRY
    )
    assert made[:, 0].max() == 0 and made[:, 16, 16].min() > 150


@pytest.mark.parametrize("size_hw", [(1, 3000), (3000, 1), (40, 40), (5000, 3000)])
def test_crops_are_cut_from_a_picture_of_bounded_size(size_hw):
    source = crops.source(Picture(Image.new("RGB", size_hw[::-1])))
    assert source.shape[2] == 3 and source.dtype == np.uint8
    assert max(source.shape) == min(max(size_hw), crops.PICTURE_EDGE)


@given(st.integers(20, 200), st.integers(20, 200), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_a_mask_within_the_whole_picture_is_the_mask(height, width, seed):
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 1, (5, 5))
    rows = np.linspace(0, 3.99, 32)
    at, part = rows.astype(int), rows % 1
    smooth = coarse[at] * (1 - part[:, None]) + coarse[at + 1] * part[:, None]
    smooth = smooth[:, at] * (1 - part) + smooth[:, at + 1] * part
    edge = max(height, width)
    whole = upsample(smooth.astype(np.float32), (height, width), 64)
    within = SAM.mask_within(smooth.astype(np.float32), (height, width), (0, 0, edge, edge), edge)
    assert not within[height:].any() and not within[:, width:].any()
    assert (within[:height, :width] == whole).mean() > 0.97
