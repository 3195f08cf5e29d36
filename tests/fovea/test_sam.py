import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea import images, sam
from fovea.prompts import box_prompts, pad_prompts

SPEC = sam.SamSpec(64, (0.5,) * 3, (0.2,) * 3, 8, 8, 32)
SIZE = (60, 80)


@given(st.integers(0, 40))
def test_prompts_are_padded_to_a_power_of_two_and_dropped_again(count):
    coords, labels = pad_prompts(*box_prompts(np.ones((count, 4), np.float32)))
    assert len(coords) == len(labels) >= max(1, count)
    assert len(labels) & (len(labels) - 1) == 0
    low = np.zeros((len(labels), 4, 32, 32), np.float32)
    masks, scores = sam.choose_masks(low, np.zeros((len(labels), 4), np.float32), labels)
    assert len(masks) == len(scores) == count


def test_a_box_takes_mask_0_and_a_point_the_best_of_the_others():
    low = np.full((2, 4, 32, 32), -1, np.float32)
    low[0, 0], low[1, 2] = 1, 1
    scores = np.array([[0.1, 0.9, 0.9, 0.9], [0.99, 0.2, 0.8, 0.3]], np.float32)
    labels = np.array([[2, 3], [1, -1]], np.int32)
    masks, chosen = sam.choose_masks(low, scores, labels)
    assert all((upsampled := sam.upsample(mask, SIZE, SPEC)).all() for mask in masks)
    assert upsampled.shape == SIZE
    assert np.allclose(chosen, [0.1, 0.8])


def test_points_move_with_the_picture():
    moved = sam.to_input_frame(np.array([[80, 60]], np.float32), SIZE, SPEC)
    assert moved.tolist() == [[64, 48]]


@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.integers(1, 5000),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=40)
def test_strips_make_the_mask_that_one_resize_makes(height, width, strip_pixels, seed):
    low = np.random.default_rng(seed).normal(0, 1, (32, 32)).astype(np.float32)
    valid_h, valid_w = images.longest_edge_size((height, width), SPEC.image_size)
    square = cv2.resize(low, (SPEC.image_size, SPEC.image_size), interpolation=cv2.INTER_LINEAR)
    whole = cv2.resize(square[:valid_h, :valid_w], (width, height), interpolation=cv2.INTER_LINEAR)
    strips = sam.mask_columns(low, (height, width), SPEC, strip_pixels=strip_pixels)
    mask = np.concatenate(list(strips)).T
    assert mask.shape == (height, width)
    assert (mask != (whole > 0))[np.abs(whole) > 1e-5].sum() == 0


@pytest.mark.parametrize("size_hw", [(1, 3000), (3000, 1), (1, 40_000)])
def test_a_thin_picture_has_a_mask(size_hw):
    low = np.where(np.arange(32) < 16, 5, -5) * np.ones((32, 1))
    low = low if size_hw[0] == 1 else low.T
    mask = sam.upsample(low.astype(np.float32), size_hw, SPEC).reshape(-1)
    assert mask[: len(mask) // 2 - len(mask) // 32].all()
    assert not mask[len(mask) // 2 + len(mask) // 32 :].any()
