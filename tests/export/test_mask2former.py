"""Mask2Former's segments equal those of transformers' functions and of its pipeline."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Mask2FormerConfig, pipeline
from transformers.models.mask2former.image_processing_pil_mask2former import (
    Mask2FormerImageProcessorPil,
)

from export.errors import InvalidCheckpoint, InvalidOption, UnsupportedProcessor
from export.families.mask2former import read_spec
from export.family_checkpoints import requests
from export.preprocessing import photograph
from fovea import masks
from fovea.families import mask2former
from fovea.families.mask2former import CLASS_LOGITS, MASK_LOGITS
from fovea.images import Picture
from fovea.probabilities import softmax

PROCESSOR = Mask2FormerImageProcessorPil(size={"height": 64, "width": 64})
CLASSES, QUERIES = 5, 12
THRESHOLD = 0.3
ALL = 10_000


def answers_of(seed: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits of classes [Q, C + 1] and smooth masks [Q, h, w], some of them certain."""
    rng = np.random.default_rng(seed)
    classes = rng.normal(0, sharpness, (QUERIES, CLASSES + 1)).astype(np.float32)
    coarse = torch.from_numpy(rng.normal(0, 4, (1, QUERIES, 4, 3)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=(16, 24), mode="bilinear")[0]
    return classes, smooth.numpy()


def theirs(classes: np.ndarray, mask_logits: np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(
        class_queries_logits=torch.from_numpy(classes)[None],
        masks_queries_logits=torch.from_numpy(mask_logits)[None],
    )


def decoded(found, size_hw) -> list[np.ndarray]:
    return [masks.decode_rle(counts, size_hw) for counts in found.masks]


def share_equal(ours: np.ndarray, expected: np.ndarray) -> float:
    assert ours.shape == expected.shape
    return float((ours == expected).mean())


SEEDS = st.tuples(st.integers(0, 2**32), st.sampled_from([0.5, 2.0, 6.0]))
SIZES = st.tuples(st.integers(1, 150), st.integers(1, 150))


@settings(max_examples=15, deadline=None)
@given(SEEDS, SIZES)
def test_semantic_segments_are_the_functions(seed, size_hw) -> None:
    classes, logits = answers_of(*seed)
    [expected] = PROCESSOR.post_process_semantic_segmentation(
        theirs(classes, logits), target_sizes=[size_hw]
    )
    found = mask2former.semantic(softmax(classes), logits, size_hw)
    assert share_equal(found.label_map, expected.numpy()) > 0.999
    assert found.class_ids.tolist() == np.unique(found.label_map).tolist()
    for class_id, mask in zip(found.class_ids, decoded(found, size_hw), strict=True):
        assert np.array_equal(mask, found.label_map == class_id)


@settings(max_examples=15, deadline=None)
@given(SEEDS, SIZES)
def test_panoptic_segments_are_the_functions(seed, size_hw) -> None:
    classes, logits = answers_of(*seed)
    [expected] = PROCESSOR.post_process_panoptic_segmentation(
        theirs(classes, logits), threshold=THRESHOLD, target_sizes=[size_hw], label_ids_to_fuse=()
    )
    probabilities = softmax(classes)
    found = mask2former.panoptic(probabilities, logits, size_hw, THRESHOLD, 0.5, 0.8)
    infos = expected["segments_info"]
    assert found.class_ids.tolist() == [info["label_id"] for info in infos]
    assert np.allclose(found.scores, [info["score"] for info in infos], atol=1e-5)
    # If nothing is found at all, theirs is -1.
    segmentation = expected["segmentation"].numpy().clip(0)
    assert share_equal(found.label_map, segmentation) > 0.999
    for place, mask in enumerate(decoded(found, size_hw), start=1):
        assert np.array_equal(mask, found.label_map == place)


@settings(max_examples=15, deadline=None)
@given(SEEDS, SIZES)
def test_instances_are_the_functions_whole_masks(seed, size_hw) -> None:
    classes, logits = answers_of(*seed)
    ask = {"threshold": THRESHOLD, "target_sizes": [size_hw]}
    outputs = theirs(classes, logits)
    [whole] = PROCESSOR.post_process_instance_segmentation(outputs, return_binary_maps=True, **ask)
    probabilities = softmax(classes)
    found = mask2former.instances(probabilities, logits, size_hw, THRESHOLD, ALL)
    # torch's top-k of so few is in any order: both are compared by class and score.
    infos = whole["segments_info"]
    assert len(found.masks) == len(infos)
    order = sorted(range(len(infos)), key=lambda i: (infos[i]["label_id"], infos[i]["score"]))
    ours = np.lexsort((found.scores, found.class_ids))
    assert found.class_ids[ours].tolist() == [infos[i]["label_id"] for i in order]
    assert np.allclose(found.scores[ours], [infos[i]["score"] for i in order], atol=1e-5)
    drawn = decoded(found, size_hw)
    for mine, other in zip(ours, order, strict=True):
        assert share_equal(drawn[mine], whole["segmentation"][other].numpy() == 1) > 0.999
    for place, mask in enumerate(drawn, start=1):
        assert (mask[found.label_map == place]).all(), "a label lies beside its mask"
    assert np.array_equal(found.label_map > 0, np.any(drawn, axis=0)) or not drawn


def test_only_the_best_masks_are_kept() -> None:
    classes, logits = answers_of(3, 6.0)
    probabilities = softmax(classes)
    every = mask2former.instances(probabilities, logits, (30, 40), 0.1, ALL)
    best = mask2former.instances(probabilities, logits, (30, 40), 0.1, 2)
    assert len(every.masks) > 2
    assert sorted(best.scores) == sorted(every.scores)[-2:]
    assert best.label_map.max() == 2


@pytest.fixture(scope="module")
def opened():
    [request] = requests("mask2former").values()
    return request.open()


@pytest.fixture(scope="module")
def piped(opened):
    """transformers' pipeline on the same checkpoint."""
    [request] = requests("mask2former").values()
    folder = request.checkpoint.folder
    return pipeline(
        "image-segmentation",
        model=opened.networks[0].module.model,
        image_processor=Mask2FormerImageProcessorPil.from_pretrained(folder),
    )


def answer(opened, picture) -> dict[str, np.ndarray]:
    pixels, _ = opened.role.geometry.apply(Picture(picture))
    with torch.inference_mode():
        classes, logits = opened.networks[0].module(torch.from_numpy(pixels)[None])
    return {CLASS_LOGITS: classes[0].numpy(), MASK_LOGITS: logits[0].numpy()}


@pytest.mark.parametrize("size_hw", [(90, 130), (120, 60)])
@pytest.mark.parametrize("task", ["panoptic", "semantic"])
def test_a_picture_has_the_pipelines_segments(opened, piped, size_hw, task) -> None:
    picture = photograph(size_hw)
    thresholds = {"threshold": THRESHOLD, "overlap_mask_area_threshold": 0.2}
    expected = piped(picture, subtask=task, **thresholds)
    spec = replace(opened.role.spec, task=task, overlap_threshold=0.2)
    role = mask2former.Mask2Former("scene", spec)
    found = role.segments(answer(opened, picture), size_hw, threshold=THRESHOLD, max_masks=ALL)
    assert len(expected) > 1
    assert [spec.class_names[i] for i in found.class_ids] == [one["label"] for one in expected]
    for mask, score, one in zip(decoded(found, size_hw), found.scores, expected, strict=True):
        assert share_equal(mask, np.asarray(one["mask"]) > 0) > 0.99
        assert one["score"] is None or abs(one["score"] - score) < 1e-3


def test_the_label_map_has_the_pipelines_instances(opened, piped) -> None:
    """The pipeline cuts masks where less sure ones hide them; torch decides the order."""
    size_hw, picture = (90, 130), photograph((90, 130))
    expected = piped(picture, subtask="instance", threshold=THRESHOLD)
    role = mask2former.Mask2Former("scene", replace(opened.role.spec, task="instance"))
    found = role.segments(answer(opened, picture), size_hw, threshold=THRESHOLD, max_masks=ALL)
    assert len(expected) > 3
    assert sorted(np.round(found.scores, 3)) == pytest.approx(
        sorted(one["score"] for one in expected), abs=2e-3
    )
    covered = np.any([np.asarray(one["mask"]) > 0 for one in expected], axis=0)
    assert share_equal(found.label_map > 0, covered) > 0.99


def test_the_task_and_the_thresholds_are_transformers_or_options() -> None:
    spec = read_spec(Mask2FormerConfig(), PROCESSOR, {})
    found = (spec.task, spec.threshold, spec.mask_threshold, spec.overlap_threshold)
    assert found == ("panoptic", 0.5, 0.5, 0.8)
    options = {"task": "instance", "threshold": 0.9, "overlap_mask_area_threshold": 0.25}
    spec = read_spec(Mask2FormerConfig(), PROCESSOR, options)
    assert (spec.task, spec.threshold, spec.overlap_threshold) == ("instance", 0.9, 0.25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "stuff"}, "task: expected one of semantic, instance, panoptic, got 'stuff'"),
        ({"threshold": 1.5}, r"threshold: expected a number within \[0, 1\], got 1.5"),
        ({"image_size": 0}, "image_size: expected a pixel or more, got 0"),
    ],
)
def test_an_invalid_option_is_refused(options, message) -> None:
    with pytest.raises(InvalidOption, match=message):
        read_spec(Mask2FormerConfig(), PROCESSOR, options)


def test_pictures_are_squashed_to_multiples_of_the_divisor() -> None:
    odd = Mask2FormerImageProcessorPil(size={"height": 100, "width": 50}, size_divisor=32)
    spec = read_spec(Mask2FormerConfig(), odd, {})
    assert (spec.image_hw, spec.mask_hw) == ((128, 64), (32, 16))
    assert odd(photograph((30, 70)), return_tensors="np")["pixel_values"].shape[2:] == (128, 64)


def test_a_canvas_for_any_shape_is_refused_unless_pictures_are_squashed() -> None:
    varied = Mask2FormerImageProcessorPil()
    with pytest.raises(UnsupportedProcessor, match=r"height, width, got .*image_size = 384"):
        read_spec(Mask2FormerConfig(), varied, {})
    assert read_spec(Mask2FormerConfig(), varied, {"image_size": 384}).image_hw == (384, 384)


def test_a_padded_canvas_is_refused() -> None:
    padded = Mask2FormerImageProcessorPil(
        size={"height": 64, "width": 64}, pad_size={"height": 96, "width": 96}
    )
    with pytest.raises(UnsupportedProcessor, match="expected pad_size=None"):
        read_spec(Mask2FormerConfig(), padded, {})


def test_classes_without_names_are_refused() -> None:
    with pytest.raises(InvalidCheckpoint, match=r"the classes 0 to 1, got \[1, 2\]"):
        read_spec(Mask2FormerConfig(id2label={1: "sky", 2: "sea"}), PROCESSOR, {})
