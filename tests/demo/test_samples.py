"""The committed sample pictures agree with their truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from demo.samples import FOLDER, coco_rle
from demo.scenes import MAN_ON_SNOWBOARD_TEXT
from demo.things import LABELS

TRUTHS = json.loads((FOLDER / "truth.json").read_text())


@pytest.mark.parametrize("truth", TRUTHS, ids=lambda truth: truth["file"])
def test_a_sample_has_its_picture_candidates_and_masks(truth: dict) -> None:
    with Image.open(FOLDER / truth["file"]) as picture:
        assert picture.size == (truth["width"], truth["height"])
    assert truth["label"] in truth["candidates"] and len(set(truth["candidates"])) == 5
    assert truth["objects"][truth["main_index"]]["label"] == truth["label"]
    for item in truth["objects"]:
        assert item["label"] in LABELS
        assert item["rle"]["size"] == [truth["height"], truth["width"]]
        assert sum(item["rle"]["counts"]) == truth["height"] * truth["width"]


def test_one_sample_has_the_description_of_the_man_on_the_snowboard() -> None:
    assert [t["description"] for t in TRUTHS].count(MAN_ON_SNOWBOARD_TEXT) == 1


def test_run_lengths_go_down_the_columns_and_start_with_zeros() -> None:
    mask = np.array([[True, False], [True, True]])
    assert coco_rle(mask) == {"size": [2, 2], "counts": [0, 2, 1, 1]}
    assert coco_rle(~mask) == {"size": [2, 2], "counts": [2, 1, 1]}
