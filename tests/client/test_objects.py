"""Every object of a picture: the request, the answer, and its conversions."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from fovea_client import AsyncClient, Client, InvalidSetting, InvalidThreshold, Objects
from fovea_client.cli import app
from fovea_client.draw import draw
from pycocotools import mask as coco_mask
from typer.testing import CliRunner

from tests.client.fake_triton import SIZE_HW, SQUARE, SQUARE_BOX, FakeTriton

ASKED = {
    "points_per_side": 8,
    "iou_threshold": 0.5,
    "stability_threshold": 0.25,
    "min_area": 9,
    "min_piece": 0.125,
    "max_objects": 3,
    "full_size": True,
}


def test_settings_that_are_not_given_are_left_to_the_server(
    triton: FakeTriton, client: Client, png
) -> None:
    client.segment_everything(png)
    assert set(triton.calls[-1].inputs) == {"IMAGE"}
    client.embed_objects(png, **ASKED)
    sent = triton.calls[-1].inputs
    assert {name: sent[name.upper()].tolist() for name in ASKED} == {
        name: [[value]] for name, value in ASKED.items()
    }
    kinds = {name: sent[name.upper()].dtype for name in ASKED}
    fractions = ("iou_threshold", "stability_threshold", "min_piece")
    assert kinds == {n: np.float32 if n in fractions else np.int32 for n in ASKED}


def test_either_client_gives_objects_with_masks_boxes_and_scores(triton, client, png) -> None:
    async def ask() -> Objects:
        async with AsyncClient(triton.url) as aio:
            return await aio.segment_everything(png, max_objects=3)

    for found in (client.segment_everything(png, max_objects=3), asyncio.run(ask())):
        assert len(found) == 3 and found.size_hw == SIZE_HW
        assert found.boxes.tolist() == [SQUARE_BOX] * 3
        assert found.scores.shape == found.stability.shape == (3,)
        assert all(np.array_equal(mask.to_numpy(), SQUARE) for mask in found.masks)
        assert found.embeddings is None and found.picture_embedding is None


def test_embedded_objects_have_a_vector_each_and_one_for_the_picture(triton, client, png) -> None:
    async def ask() -> Objects:
        async with AsyncClient(triton.url) as aio:
            return await aio.embed_objects(png)

    for found in (client.embed_objects(png), asyncio.run(ask())):
        assert found.embeddings.shape == (2, 3) and found.picture_embedding.shape == (3,)
        record = json.loads(json.dumps(found.to_dict()))
        assert record["embeddings"] == found.embeddings.tolist()
        assert record["picture_embedding"] == [0, 0, 1]


def test_objects_become_coco_results_and_supervision(client: Client, png: bytes) -> None:
    found = client.segment_everything(png)
    first = json.loads(json.dumps(found.to_coco_json(image_id=7)))[0]
    assert first["image_id"] == 7 and first["bbox"] == [2, 1, 3, 3] and first["area"] == 9
    assert first["stability_score"] == pytest.approx(0.9)
    assert coco_mask.area(first["segmentation"]) == 9
    detections = found.to_supervision()
    assert detections.mask.shape == (2, *SIZE_HW) and detections.xyxy.tolist() == [SQUARE_BOX] * 2


@pytest.mark.parametrize("count", [0, 2])
def test_an_answer_without_objects_can_be_drawn(count: int, client: Client, png: bytes) -> None:
    found = client.segment_everything(png, max_objects=count)
    assert len(found) == len(found.to_coco_json()) == len(found.to_supervision()) == count
    drawn = np.asarray(draw(png, found))
    assert drawn.shape == (*SIZE_HW, 3)
    assert (
        drawn == np.asarray(draw(png, client.segment_everything(png, max_objects=0)))
    ).all() == (count == 0)


@pytest.mark.parametrize(
    ("setting", "wrong", "error"),
    [
        ("iou_threshold", 1.5, InvalidThreshold),
        ("stability_threshold", float("nan"), InvalidThreshold),
        ("min_piece", -0.1, InvalidThreshold),
        ("points_per_side", 2.5, InvalidSetting),
        ("max_objects", -1, InvalidSetting),
        ("min_area", True, InvalidSetting),
        ("min_area", 2**31, InvalidSetting),
    ],
)
def test_a_wrong_setting_is_refused_by_name(setting, wrong, error, client, png) -> None:
    for verb in (client.segment_everything, client.embed_objects):
        with pytest.raises(error, match=f"{setting.upper()}: expected"):
            verb(png, **{setting: wrong})


def test_the_commands_print_and_draw_every_object(triton: FakeTriton, png: bytes, tmp_path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(png)
    options = [str(picture), "--url", triton.url, "--max-objects", "2"]
    shown = CliRunner().invoke(app, ["segment-everything", *options, "--points-per-side", "8"])
    assert shown.exit_code == 0 and "2 1 5 4" in shown.output
    out = tmp_path / "drawn.png"
    told = CliRunner().invoke(app, ["embed-objects", *options, "--json", "--out", str(out)])
    assert told.exit_code == 0 and out.is_file()
    assert len(json.loads(told.stdout)["embeddings"]) == 2
