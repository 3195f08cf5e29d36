"""SegFormer's segments equal those of transformers' pipeline."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import SegformerConfig, pipeline
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from export.errors import UnsupportedProcessor
from export.families.segformer import read_spec
from export.family_checkpoints import requests
from export.preprocessing import photograph
from fovea import masks
from fovea.families.segformer import CLASS_MAPS
from fovea.images import Picture


@pytest.fixture(scope="module")
def opened():
    [request] = requests("segformer").values()
    return request.open()


@pytest.fixture(scope="module")
def piped(opened):
    """transformers' pipeline on the same checkpoint."""
    [request] = requests("segformer").values()
    return pipeline(
        "image-segmentation",
        model=opened.networks[0].module.model,
        image_processor=SegformerImageProcessorPil.from_pretrained(request.checkpoint.folder),
    )


@pytest.mark.parametrize("size_hw", [(90, 130), (300, 200), (1, 40)])
def test_a_picture_has_the_pipelines_segments(opened, piped, size_hw) -> None:
    picture, role = photograph(size_hw), opened.role
    expected = piped(picture)
    pixels, _ = role.geometry.apply(Picture(picture))
    with torch.inference_mode():
        logits = opened.networks[0].module(torch.from_numpy(pixels)[None])[0].numpy()
    found = role.segments({CLASS_MAPS: logits}, size_hw, threshold=0.5, max_masks=1)
    names = [role.spec.class_names[class_id] for class_id in found.class_ids]
    assert names == [one["label"] for one in expected] and len(names) > 1
    assert found.scores.tolist() == [1.0] * len(names)
    assert all(one["score"] is None for one in expected)
    for counts, class_id, one in zip(found.masks, found.class_ids, expected, strict=True):
        mask = masks.decode_rle(counts, size_hw)
        assert np.array_equal(mask, found.label_map == class_id)
        assert (mask == (np.asarray(one["mask"]) > 0)).mean() > 0.999


def test_classes_have_the_checkpoints_names_and_maps_a_quarter_of_the_picture() -> None:
    config = SegformerConfig(id2label={0: "wall", 1: "ceiling"})
    spec = read_spec(config, SegformerImageProcessorPil(size={"height": 512, "width": 513}))
    assert spec.class_names == ("wall", "ceiling")
    assert (spec.image_hw, spec.map_hw) == ((512, 513), (128, 129))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": {"shortest_edge": 512}}, "expected size with height, width"),
        ({"do_resize": False}, "expected do_resize=True"),
        ({"do_center_crop": True}, "expected do_center_crop=False"),
    ],
)
def test_a_processor_that_does_not_squash_is_refused(settings, message) -> None:
    with pytest.raises(UnsupportedProcessor, match=message):
        read_spec(SegformerConfig(), SegformerImageProcessorPil(**settings))
