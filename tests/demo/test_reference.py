"""The committed checkpoints answer about the committed samples."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("transformers")

from PIL import Image

from demo.evaluate import box_iou
from demo.reference import ReferencePipeline
from demo.samples import FOLDER
from demo.things import LABELS
from demo.training import CHECKPOINTS_FOLDER

TRUTHS = {truth["file"]: truth for truth in json.loads((FOLDER / "truth.json").read_text())}
SHARE_RIGHT = 0.75


@pytest.fixture(scope="module")
def pipeline() -> ReferencePipeline:
    return ReferencePipeline()


def test_most_samples_get_the_right_label_and_box(pipeline: ReferencePipeline) -> None:
    right = []
    for name, truth in TRUTHS.items():
        answer = pipeline.main_object(Image.open(FOLDER / name), truth["candidates"])
        box = truth["objects"][truth["main_index"]]["box_xyxy"]
        right.append(answer.found and box_iou(answer.box_xyxy, box) > 0.5)
        assert answer.mask is None or answer.mask.shape == (truth["height"], truth["width"])
    assert sum(right) >= SHARE_RIGHT * len(TRUTHS)


def test_a_box_and_a_point_give_one_mask_each(pipeline: ReferencePipeline) -> None:
    picture = Image.open(FOLDER / "scene-01.jpg")
    boxes = [(100.0, 100.0, 300.0, 300.0), (0.0, 0.0, 50.0, 50.0)]
    assert len(pipeline.segment(picture, boxes=boxes)) == 2
    assert len(pipeline.segment(picture, points=[(200.0, 200.0)])) == 1


def test_ranking_keeps_every_label_and_adds_up_to_one(pipeline: ReferencePipeline) -> None:
    ranked = pipeline.rank_labels(Image.open(FOLDER / "scene-01.jpg"), list(LABELS))
    assert sorted(r.label for r in ranked) == sorted(LABELS)
    assert sum(r.score for r in ranked) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", ["clip", "dinov2", "grounding_dino", "sam", "siglip"])
def test_a_checkpoint_has_the_files_of_a_hub_checkpoint(name: str) -> None:
    files = {path.name for path in (CHECKPOINTS_FOLDER / name).iterdir()}
    needed = {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"}
    assert needed <= files
    assert name in ("dinov2", "sam") or {"tokenizer.json", "tokenizer_config.json"} <= files
