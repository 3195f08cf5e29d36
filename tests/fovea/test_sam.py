import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea import sam
from fovea.errors import InvalidPrompt
from fovea.limits import Limits

SPEC = sam.SamSpec(64, (0.5,) * 3, (0.2,) * 3, 8, 8, 32)
SIZE = (60, 80)


def prompts(coords, labels):
    return np.array(coords, np.float32), np.array(labels, np.int32)


def check(coords, labels, limits=None):
    sam.check_prompts(*prompts(coords, labels), SIZE, limits or Limits())


def test_boxes_and_points_within_the_picture_are_accepted():
    check([[[0, 0], [80, 60]], [[3, 4], [0, 0]]], [[2, 3], [1, -1]])


@pytest.mark.parametrize(
    ("coords", "labels", "message"),
    [
        ([[[0, 0], [81, 60]]], [[2, 3]], "within the picture of 80x60"),
        ([[[-1, 0], [8, 6]]], [[2, 3]], "within the picture"),
        ([[[np.nan, 1], [0, 0]]], [[1, -1]], "finite"),
        ([[[np.inf, 1], [0, 0]]], [[1, -1]], "finite"),
        ([[[5, 5], [5, 9]]], [[2, 3]], "left < right"),
        ([[[5, 5], [6, 9]]], [[2, 1]], "labels 2 and 3 once each"),
        ([[[5, 5], [6, 9]]], [[7, 1]], "expected labels"),
        ([[[0, 0], [0, 0]]], [[-1, -1]], "only padding"),
        (np.zeros((0, 2, 2)), np.zeros((0, 2)), "expected 1 to 128 prompts"),
        (np.zeros((1, 2, 2)), np.zeros((1, 3)), "point_coords"),
    ],
)
def test_wrong_prompts_are_refused(coords, labels, message):
    with pytest.raises(InvalidPrompt, match=message):
        check(coords, labels)


def test_too_many_prompts_are_refused():
    with pytest.raises(InvalidPrompt, match="got 3 of 2"):
        check(np.zeros((3, 2, 2)), np.ones((3, 2)), Limits(prompts=2))


@given(st.integers(0, 40))
def test_prompts_are_padded_to_a_power_of_two_and_dropped_again(count):
    _coords, labels = sam.pad_prompts(*sam.box_prompts(np.ones((count, 4), np.float32)))
    assert len(labels) >= max(1, count)
    assert len(labels) & (len(labels) - 1) == 0
    low = np.zeros((len(labels), 4, 32, 32), np.float32)
    masks, scores = sam.select_masks(
        low, np.zeros((len(labels), 4), np.float32), labels, SIZE, SPEC
    )
    assert len(masks) == len(scores) == count


def test_only_prompts_without_box_or_padding_get_a_padding_point():
    _, labels = sam.pad_points(*prompts([[[1, 1], [2, 2]]], [[1, 0]]))
    assert labels.tolist() == [[1, 0, -1]]
    for same in ([[2, 3]], [[1, -1]]):
        assert sam.pad_points(*prompts([[[1, 1], [2, 2]]], same))[1].tolist() == same


def test_a_box_takes_mask_0_and_a_point_the_best_of_the_others():
    low = np.full((2, 4, 32, 32), -1, np.float32)
    low[0, 0], low[1, 2] = 1, 1
    scores = np.array([[0.1, 0.9, 0.9, 0.9], [0.99, 0.2, 0.8, 0.3]], np.float32)
    labels = np.array([[2, 3], [1, -1]], np.int32)
    masks, chosen = sam.select_masks(low, scores, labels, SIZE, SPEC)
    assert all(mask.all() and mask.shape == SIZE for mask in masks)
    assert np.allclose(chosen, [0.1, 0.8])


def test_points_move_with_the_picture():
    moved = sam.to_input_frame(np.array([[80, 60]], np.float32), SIZE, SPEC)
    assert moved.tolist() == [[64, 48]]
