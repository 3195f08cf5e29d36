import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea import images
from fovea.families.sam import mask_columns, upsample
from fovea.prompts import PADDING, box_prompts, pad_prompts

IMAGE_SIZE = 64


@given(st.integers(0, 40))
def test_prompts_are_padded_to_a_power_of_two(count):
    coords, labels = pad_prompts(*box_prompts(np.ones((count, 4), np.float32)))
    assert len(coords) == len(labels) >= max(1, count)
    assert len(labels) & (len(labels) - 1) == 0
    assert ((labels != PADDING).any(axis=1)).sum() == count


@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.integers(1, 5000),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=40)
def test_strips_make_the_mask_that_one_resize_makes(height, width, strip_pixels, seed):
    low = np.random.default_rng(seed).normal(0, 1, (32, 32)).astype(np.float32)
    valid_h, valid_w = images.longest_edge_size((height, width), IMAGE_SIZE)
    square = cv2.resize(low, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_LINEAR)
    whole = cv2.resize(square[:valid_h, :valid_w], (width, height), interpolation=cv2.INTER_LINEAR)
    strips = mask_columns(low, (height, width), IMAGE_SIZE, strip_pixels=strip_pixels)
    mask = np.concatenate(list(strips)).T
    assert mask.shape == (height, width)
    assert (mask != (whole > 0))[np.abs(whole) > 1e-5].sum() == 0


@pytest.mark.parametrize("size_hw", [(1, 3000), (3000, 1), (1, 40_000)])
def test_a_thin_picture_has_a_mask(size_hw):
    low = np.where(np.arange(32) < 16, 5, -5) * np.ones((32, 1))
    low = low if size_hw[0] == 1 else low.T
    mask = upsample(low.astype(np.float32), size_hw, IMAGE_SIZE).reshape(-1)
    assert mask[: len(mask) // 2 - len(mask) // 32].all()
    assert not mask[len(mask) // 2 + len(mask) // 32 :].any()
