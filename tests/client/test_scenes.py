"""The parts of a scene: the request, the answer, and its conversions."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
from fovea_client import AsyncClient, Client, InvalidInput, InvalidThreshold, SceneSegmentation
from fovea_client.cli import app
from fovea_client.draw import draw
from pycocotools import mask as coco_mask
from typer.testing import CliRunner

from tests.client.fake_triton import SIZE_HW, SQUARE, SQUARE_BOX, FakeTriton, scene


def test_settings_that_are_not_given_are_left_to_the_server(
    triton: FakeTriton, client: Client, png
) -> None:
    assert client.segment_scene(png).label_map is None
    assert set(triton.calls[-1].inputs) == {"IMAGE"}
    client.segment_scene(png, threshold=0.25, label_map=True)
    sent = triton.calls[-1].inputs
    assert sent["THRESHOLD"].tolist() == [[0.25]] and sent["THRESHOLD"].dtype == np.float32
    assert sent["WITH_LABEL_MAP"].tolist() == [[1]] and sent["WITH_LABEL_MAP"].dtype == np.int32


def test_either_client_gives_segments_and_the_label_map(triton, client, png) -> None:
    async def ask() -> SceneSegmentation:
        async with AsyncClient(triton.url) as aio:
            return await aio.segment_scene(png, label_map=True)

    for found in (client.segment_scene(png, label_map=True), asyncio.run(ask())):
        assert found.labels == ("traffic light", "sky") and len(found) == 2
        assert found.label_indices.tolist() == [9, 300] and found.size_hw == SIZE_HW
        assert found.scores.tolist() == pytest.approx([0.9, 0.7])
        assert np.array_equal(found.masks[0].to_numpy(), SQUARE)
        assert found.label_map.dtype == np.uint16
        assert np.array_equal(found.label_map == 9, SQUARE)
        assert np.array_equal(found.label_map == 300, ~SQUARE)


def test_a_scene_becomes_json_coco_results_and_supervision(client: Client, png: bytes) -> None:
    found = client.segment_scene(png, label_map=True)
    record = json.loads(json.dumps(found.to_dict()))
    assert [*record] == ["masks", "labels", "label_indices", "scores", "size_hw"]
    first, second = json.loads(json.dumps(found.to_coco_json(image_id=7)))
    assert (first["image_id"], first["category_id"], first["bbox"]) == (7, 9, [2, 1, 3, 3])
    assert first["category_name"] == "traffic light" and first["area"] == 9
    assert coco_mask.area(second["segmentation"]) == SIZE_HW[0] * SIZE_HW[1] - 9
    detections = found.to_supervision()
    assert detections.class_id.tolist() == [9, 300]
    assert detections.data["class_name"].tolist() == ["traffic light", "sky"]
    assert detections.xyxy.tolist() == [SQUARE_BOX, [0, 0, SIZE_HW[1], SIZE_HW[0]]]


def test_categories_are_the_data_sets_own_if_it_has_them_all(client: Client, png: bytes) -> None:
    found = client.segment_scene(png)
    numbered = found.to_coco_json(categories={"sky": 2, "traffic light": 1})
    assert [one["category_id"] for one in numbered] == [1, 2]
    with pytest.raises(InvalidInput, match=r"category for each label, got none for \['sky'\]"):
        found.to_coco_json(categories={"traffic light": 1})


def test_an_empty_scene_is_an_answer_that_can_be_drawn(triton, client, png: bytes) -> None:
    def nothing(call):
        found = scene(label_map=False)
        return {k: v if k == "IMAGE_SIZE" else v[:0] for k, v in found.items()}

    triton.behave = nothing
    found = client.segment_scene(png)
    assert len(found) == len(found.to_coco_json()) == len(found.to_supervision()) == 0
    assert np.asarray(draw(png, found)).shape == (*SIZE_HW, 3)


@pytest.mark.parametrize("threshold", [1.5, float("nan")])
def test_a_wrong_threshold_is_refused(threshold, client: Client, png: bytes) -> None:
    with pytest.raises(InvalidThreshold, match="THRESHOLD: expected"):
        client.segment_scene(png, threshold=threshold)


def test_the_command_prints_and_draws_the_segments(triton: FakeTriton, png: bytes, tmp_path):
    picture, out = tmp_path / "picture.png", tmp_path / "drawn.png"
    picture.write_bytes(png)
    options = [str(picture), "--url", triton.url, "--threshold", "0.5", "--out", str(out)]
    shown = CliRunner().invoke(app, ["segment-scene", *options])
    assert shown.exit_code == 0 and "traffic light" in shown.output and "2 1 5 4" in shown.output
    assert out.is_file()
    told = CliRunner().invoke(app, ["segment-scene", *options, "--json"])
    assert json.loads(told.stdout)["labels"] == ["traffic light", "sky"]
    assert triton.calls[-1].inputs["THRESHOLD"].tolist() == [[0.5]]
