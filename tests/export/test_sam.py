"""What the mask decoder adds to SAM's own layers: it moves the prompts and chooses a mask."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from export.families.sam import chosen, to_input_frame
from fovea.prompts import (
    BACKGROUND,
    BOX_BOTTOM_RIGHT,
    BOX_TOP_LEFT,
    FOREGROUND,
    PADDING,
    box_prompts,
    pad_prompts,
)

SCORES = torch.tensor([[[0.1, 0.9, 0.8, 0.7], [0.99, 0.2, 0.8, 0.3], [0.3, 0.4, 0.5, 0.6]]])
# Mask m of prompt p is 10 p + m everywhere.
MASKS = (10.0 * torch.arange(3)[:, None] + torch.arange(4))[None, ..., None, None].expand(
    1, 3, 4, 5, 5
)


def test_a_box_and_several_points_take_mask_0_and_one_point_the_best_of_the_others():
    labels = [
        [BOX_TOP_LEFT, BOX_BOTTOM_RIGHT, PADDING],
        [FOREGROUND, PADDING, PADDING],
        [FOREGROUND, BACKGROUND, PADDING],
    ]
    scores, masks = chosen(SCORES, MASKS, torch.tensor([labels], dtype=torch.int32))
    assert masks.shape == (1, 3, 5, 5)
    assert masks[0, :, 0, 0].tolist() == [0, 12, 20]
    assert torch.equal(masks, masks[:, :, :1, :1].expand_as(masks))
    assert scores.tolist() == [[*SCORES[0, [0, 1, 2], [0, 2, 0]].tolist()]]


def test_the_masks_of_each_picture_and_prompt_are_chosen_alone():
    labels = torch.tensor([[[FOREGROUND, PADDING]] * 3, [[BOX_TOP_LEFT, BOX_BOTTOM_RIGHT]] * 3])
    scores, masks = chosen(SCORES.expand(2, -1, -1), MASKS.expand(2, -1, -1, -1, -1), labels)
    assert masks[:, :, 0, 0].tolist() == [[1, 12, 23], [0, 10, 20]]
    assert torch.equal(scores[1], SCORES[0, :, 0])


@given(st.integers(0, 40))
def test_padded_prompts_have_a_mask_too_so_that_prompts_keep_their_places(count):
    _, labels = pad_prompts(*box_prompts(np.ones((count, 4), np.float32)))
    labels = torch.from_numpy(labels)[None]
    prompts = labels.shape[1]
    scores, masks = chosen(torch.zeros(1, prompts, 4), torch.zeros(1, prompts, 4, 2, 2), labels)
    assert scores.shape == (1, prompts)
    assert masks.shape == (1, prompts, 2, 2)


def test_points_move_with_each_picture():
    coords = torch.tensor([[[[80.0, 60.0]]], [[[30.0, 20.0]]]])
    valid_hw = torch.tensor([[48, 64], [64, 32]], dtype=torch.int32)
    original_hw = torch.tensor([[60, 80], [40, 20]], dtype=torch.int32)
    moved = to_input_frame(coords, valid_hw, original_hw)
    assert torch.allclose(moved, torch.tensor([[[[64.0, 48.0]]], [[[48.0, 32.0]]]]))
