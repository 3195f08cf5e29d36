"""Drawings at every size."""

from __future__ import annotations

import numpy as np
import pytest
from fovea_client import (
    Detections,
    InvalidInput,
    MainObject,
    Mask,
    Segmentation,
    SegmentedDetections,
)
from fovea_client.draw import PALETTE, draw

from fovea.masks import encode_rle

GREY = 128


def scene(height: int, width: int) -> tuple[np.ndarray, SegmentedDetections]:
    """A grey picture with a thing in its middle half."""
    picture = np.full((height, width, 3), GREY, np.uint8)
    inside = np.zeros((height, width), np.bool_)
    inside[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = True
    mask = Mask(encode_rle(inside), (height, width))
    found = SegmentedDetections(
        mask.box()[None],
        np.array([0.9], np.float32),
        ("a thing",),
        (height, width),
        (mask,),
        np.array([0.8], np.float32),
    )
    return picture, found


def main_object(seen: SegmentedDetections, **changes: object) -> MainObject:
    fields = {
        "found": True,
        "label": "thing",
        "label_scores": {"thing": 0.7},
        "box": seen.boxes[0],
        "box_score": 0.9,
        "mask": seen.masks[0],
        "mask_score": 0.8,
        "size_hw": seen.size_hw,
    }
    return MainObject(**(fields | changes))


@pytest.mark.parametrize("size", [(64, 64), (1, 1), (3, 200), (200, 3), (480, 640), (2160, 3840)])
def test_every_result_draws_on_every_size(size: tuple[int, int]) -> None:
    picture, found = scene(*size)
    nothing = {"found": False, "box": None, "mask": None, "box_score": None, "mask_score": None}
    results = [
        found,
        Detections(found.boxes, found.scores, found.phrases, size),
        Segmentation(found.masks, found.mask_scores, size),
        main_object(found),
        main_object(found, **nothing),
        main_object(found, **nothing, label=None, label_scores={}),
        Detections(found.boxes[:0], found.scores[:0], (), size),
    ]
    for result in results:
        drawn = draw(picture, result)
        assert (drawn.height, drawn.width) == size
    assert (picture == GREY).all()


def test_the_mask_is_tinted_its_surroundings_are_not() -> None:
    picture, found = scene(400, 600)
    drawn = np.asarray(draw(picture, Segmentation(found.masks, found.mask_scores, found.size_hw)))
    tint = drawn[200, 300].astype(int) - GREY
    assert np.array_equal(np.sign(tint), np.sign(np.array(PALETTE[0]) - GREY))
    assert (drawn[390, 590] == GREY).all()


def test_the_box_line_lies_on_the_box() -> None:
    picture, found = scene(400, 600)
    drawn = np.asarray(draw(picture, Detections(found.boxes, found.scores, ("x",), (400, 600))))
    assert tuple(drawn[250, 150]) == PALETTE[0]
    assert (drawn[250, 148] == GREY).all() and (drawn[250, 160] == GREY).all()


def test_crowded_tags_of_any_length_stay_within_the_picture() -> None:
    size = (120, 160)
    boxes = np.array([[-5, -5, 300, 300], [0, 0, 159, 119], [150, 110, 160, 120]], np.float32)
    phrases = ("x" * 200, "", "größe 猫")
    found = Detections(boxes, np.array([0.1, 0.2, 0.3], np.float32), phrases, size)
    assert draw(np.zeros((*size, 3), np.uint8), found).size == (160, 120)


def test_a_result_belongs_to_its_picture() -> None:
    picture, found = scene(40, 60)
    with pytest.raises(InvalidInput, match="expected the picture of size"):
        draw(picture[:20], found)
