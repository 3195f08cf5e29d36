"""Results: masks, JSON, COCO and supervision."""

from __future__ import annotations

import json

import numpy as np
import pytest
import supervision
from fovea_client import Client, Detections, InvalidInput, Mask
from hypothesis import given
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from fovea.masks import encode_rle
from tests.client.fake_triton import SIZE_HW, SQUARE, SQUARE_BOX, FakeTriton, detections, masks

mask_arrays = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20))


@given(mask_arrays)
def test_a_mask_decodes_to_what_was_encoded_and_as_pycocotools_does(pixels: np.ndarray) -> None:
    mask = Mask(encode_rle(pixels), pixels.shape)
    assert np.array_equal(mask.to_numpy(), pixels)
    assert mask.area == pixels.sum()
    coco = json.loads(json.dumps(mask.to_coco()))
    assert np.array_equal(coco_mask.decode(coco).astype(bool), pixels)
    left, top, right, bottom = mask.box().astype(int)
    assert pixels[top:bottom, left:right].sum() == pixels.sum()


def test_a_mask_is_a_value() -> None:
    assert Mask(b"1", (1, 1)) == Mask(b"1", (1, 1))
    assert hash(Mask(b"1", (1, 1))) == hash(Mask(b"1", (1, 1)))


def test_results_are_ready_for_json(client: Client, png: bytes) -> None:
    thing = json.loads(json.dumps(client.main_object(png, "cat. dog").to_dict()))
    assert thing["label"] == "cat"
    assert thing["box"] == SQUARE_BOX
    assert thing["mask"]["size"] == list(SIZE_HW)
    assert thing["box_score"] == 0.9 and thing["label_scores"] == {"cat": 0.9, "dog": 0.1}
    found = json.loads(json.dumps(client.detect_and_segment(png, "cat. dog").to_dict()))
    assert set(found) == {
        "boxes", "scores", "phrases", "label_indices", "masks", "mask_scores", "size_hw"
    }  # fmt: skip
    pieces = json.loads(json.dumps(client.segment(png, points=[[1, 1]]).to_dict()))
    assert set(pieces) == {"masks", "scores", "size_hw"}


def test_coco_results_have_boxes_by_width_and_height(client: Client, png: bytes) -> None:
    (first, _) = client.detect_and_segment(png, "cat. dog").to_coco_json(image_id=7)
    assert first["image_id"] == 7 and first["category_name"] == "cat"
    assert first["bbox"] == [2, 1, 3, 3] and first["area"] == 9
    assert coco_mask.area(first["segmentation"]) == 9
    (piece,) = client.segment(png, boxes=SQUARE_BOX).to_coco_json()
    assert piece["bbox"] == [2, 1, 3, 3]
    (thing,) = client.main_object(png, "cat. dog").to_coco_json()
    assert thing["category_name"] == "cat"
    assert len(client.detect(png, "cat. dog").to_coco_json()) == 2


def test_supervision_takes_every_result(client: Client, png: bytes) -> None:
    found = client.detect(png, "cat. dog").to_supervision()
    assert isinstance(found, supervision.Detections)
    assert found.class_id.tolist() == [0, 1]
    assert found.data["class_name"].tolist() == ["cat", "dog"]
    masked = client.detect_and_segment(png, "cat. dog").to_supervision()
    assert masked.mask.shape == (2, *SIZE_HW)
    pieces = client.segment(png, points=[[1, 1]]).to_supervision()
    assert pieces.xyxy.tolist() == [SQUARE_BOX]
    thing = client.main_object(png, "cat").to_supervision()
    assert np.array_equal(thing.mask[0], SQUARE)


def test_supervision_takes_nothing_found(triton: FakeTriton, client: Client, png: bytes) -> None:
    triton.behave = lambda call: detections() | masks(0)
    assert len(client.detect(png, "cat").to_supervision()) == 0
    assert len(client.detect_and_segment(png, "cat").to_supervision()) == 0
    thing = client.main_object(png, description="cat")
    assert len(thing.to_supervision()) == 0 and thing.to_coco_json() == []
    assert thing.to_dict()["mask"] is None


def test_results_are_frozen() -> None:
    found = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), (), (1, 1))
    with pytest.raises(AttributeError):
        found.scores = None


def found(*phrases: str, label_indices: list[int] | None = None) -> Detections:
    boxes = np.array([[10, 10, 50, 60]] * len(phrases), np.float32)
    indices = None if label_indices is None else np.array(label_indices, np.int32)
    scores = np.full(len(phrases), 0.9, np.float32)
    return Detections(boxes, scores, phrases, (100, 100), label_indices=indices)


def test_class_ids_are_the_asked_indices_whatever_is_in_the_picture() -> None:
    assert found("man", label_indices=[1]).to_supervision().class_id.tolist() == [1]
    assert found("man", label_indices=[1]).to_coco_json()[0]["category_id"] == 1


def test_without_indices_class_ids_are_those_of_the_phrase_alone() -> None:
    car, man = (found(word).to_supervision().class_id.tolist() for word in ("car", "man"))
    assert car != man
    assert found("man", "car").to_supervision().class_id.tolist() == man + car


def test_pycocotools_loads_every_result(client: Client, png: bytes) -> None:
    categories = {"cat": 17, "dog": 18}
    truth = COCO()
    truth.dataset = {
        "images": [{"id": 7}],
        "annotations": [],
        "categories": [{"id": id, "name": name} for name, id in categories.items()],
    }
    truth.createIndex()
    results = [
        client.detect(png, "cat. dog"),
        client.detect_and_segment(png, "cat. dog"),
        client.main_object(png, "cat. dog"),
    ]
    for result in results:
        loaded = truth.loadRes(result.to_coco_json(7, categories))
        first = loaded.loadAnns(loaded.getAnnIds(catIds=[17]))
        assert [one["bbox"] for one in first] == [[2, 1, 3, 3]]
        assert len(truth.loadRes(result.to_coco_json(7)).anns) in (1, 2)
    assert len(truth.loadRes(client.segment(png, boxes=SQUARE_BOX).to_coco_json(7)).anns) == 1


def test_a_phrase_without_category_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"category for each phrase, got none for \['man'\]"):
        found("car", "man").to_coco_json(categories={"car": 3})
