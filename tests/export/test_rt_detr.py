"""The answers of RT-DETR and D-FINE equal transformers', from the picture to the boxes."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import (
    DFineForObjectDetection,
    RTDetrForObjectDetection,
    RTDetrV2ForObjectDetection,
)
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.rt_detr.modeling_rt_detr import RTDetrObjectDetectionOutput

from export.checkpoints import find
from export.class_names import class_names
from export.errors import InvalidCheckpoint, UnsupportedProcessor
from export.families.rt_detr import read_spec
from export.family_checkpoints import requests
from export.members import export_member
from export.parity import open_onnxruntime
from export.preprocessing import photograph
from export.stand_ins.rt_detr import TINY_NAMES
from fovea.images import Picture
from fovea.members import Source
from fovea.roles import Selection

SIZES_HW = [(240, 320), (320, 200)]
MODELS = {
    "rt_detr": RTDetrForObjectDetection,
    "rt_detr_v2": RTDetrV2ForObjectDetection,
    "d_fine": DFineForObjectDetection,
}


@pytest.fixture(scope="module", params=["rt_detr", "rt_detr_v2", "d_fine"])
def request_(request):
    return requests(request.param.removesuffix("_v2"))[request.param]


@pytest.fixture(scope="module")
def checkpoint(request_):
    return request_.checkpoint


@pytest.fixture(scope="module")
def detects(request_):
    """The role, and its graph run on a picture as the first step prepares it."""
    exported = export_member(request_, report=lambda network, what: None)
    role, session = exported.member.play(), open_onnxruntime(exported.graph(""))
    names = [tensor.name for tensor in role.finish_tensors]

    def answer(picture):
        pixels, _ = role.geometry.apply(Picture(picture))
        out = session.run(names, {"pixel_values": pixels[None]})
        return {name: array[0] for name, array in zip(names, out, strict=True)}

    return role, answer


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_answers_are_those_of_transformers(request_, checkpoint, detects, size_hw):
    picture = photograph(size_hw)
    role, answer = detects
    model, processor = request_.open().networks[0].module.model, checkpoint.load_image_processor()
    with torch.inference_mode():
        out = model(**processor(picture, return_tensors="pt"))
    # Between two scores: at one of them, the last bit of a sigmoid would decide.
    scores = out.logits.sigmoid().flatten().sort(descending=True).values
    threshold = float(scores[10:12].mean())
    [theirs] = processor.post_process_object_detection(
        out, threshold=threshold, target_sizes=[size_hw]
    )
    ours = role.select(answer(picture), size_hw, Selection(threshold, 100))
    assert len(ours.scores) == len(theirs["scores"]) == 11
    assert ours.label_indices.tolist() == theirs["labels"].tolist()
    height, width = size_hw
    inside = np.clip(theirs["boxes"].numpy(), 0, [width, height, width, height])
    # Pixels are whole grey levels here.
    assert np.allclose(ours.scores, theirs["scores"].numpy(), atol=0.02)
    assert np.allclose(ours.boxes_xyxy, inside, atol=0.01 * max(size_hw))


def test_answers_depend_on_the_picture(detects):
    """A constant answer would prove nothing."""
    role, answer = detects
    pictures = [photograph(size_hw) for size_hw in SIZES_HW]
    found = [role.select(answer(p), (p.height, p.width), Selection(0.0, 12)) for p in pictures]
    assert len({word for one in found for word in one.words}) > 1
    assert np.abs(found[0].scores - found[1].scores).max() > 0.02
    assert all(np.ptp(one.boxes_xyxy, axis=0).min() > 5 for one in found)


def test_the_same_answer_gives_the_same_boxes(checkpoint, detects):
    """All boxes, at transformers' own threshold, in its order."""
    role, answer = detects
    processor = checkpoint.load_image_processor()
    raw = answer(photograph((240, 320)))
    out = as_outputs(raw)
    [theirs] = processor.post_process_object_detection(out, target_sizes=[(240, 320)])
    ours = role.select(raw, (240, 320), Selection(role.spec.box_threshold, 100))
    assert role.spec.box_threshold == 0.5
    assert len(ours.scores) == len(theirs["scores"]) > 0
    assert np.allclose(ours.scores, theirs["scores"].numpy(), atol=1e-6)
    inside = np.clip(theirs["boxes"].numpy(), 0, [320, 240, 320, 240])
    assert np.allclose(ours.boxes_xyxy, inside, atol=1e-3)
    names = [TINY_NAMES[index] for index in theirs["labels"]]
    assert ours.words == names


def as_outputs(raw):
    """A network's answer in the form for transformers' post-processing."""
    batch = {name: torch.from_numpy(array)[None] for name, array in raw.items()}
    return RTDetrObjectDetectionOutput(**batch)


@pytest.fixture(scope="module")
def config(request_):
    return request_.open().networks[0].module.model.config


def processor(**more):
    return RTDetrImageProcessorPil(**{"size": {"height": 64, "width": 96}, **more})


def test_the_spec_has_the_checkpoints_settings(config):
    spec = read_spec("rt_detr", config, processor())
    assert (spec.image_hw, spec.num_queries) == ((64, 96), 12)
    assert (spec.class_names, spec.resample) == (TINY_NAMES, 2)


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"do_pad": True}, UnsupportedProcessor, "expected do_pad=False, got True"),
        ({"do_resize": False}, UnsupportedProcessor, "expected do_resize=True"),
        (
            {"size": {"shortest_edge": 64, "longest_edge": 96}},
            UnsupportedProcessor,
            "expected size with height, width",
        ),
        ({"size": {"height": 70, "width": 96}}, InvalidCheckpoint, "multiples of 32, got 70 x 96"),
    ],
)
def test_a_processor_with_other_settings_is_refused(config, settings, error, said):
    with pytest.raises(error, match=said):
        read_spec("rt_detr", config, processor(**settings))


def test_anchors_for_another_size_are_refused(config):
    anchored = type(config)(**{**config.to_dict(), "anchor_image_size": [64, 64]})
    with pytest.raises(InvalidCheckpoint, match=r"anchors for 64 x 64 pixels, .* 64 x 96"):
        read_spec("rt_detr", anchored, processor())


def test_classes_without_a_gap_have_names(config):
    config = type(config)(**config.to_dict())
    config.id2label = {0: "cat", 2: "dog"}
    with pytest.raises(InvalidCheckpoint, match=r"name the classes 0 to 1, got \[0, 2\]"):
        class_names("rt_detr", config)


def test_each_architecture_is_opened_with_its_own_class(request_, config):
    assert config.model_type == request_.checkpoint.name
    assert isinstance(request_.open().networks[0].module.model, MODELS[config.model_type])


def test_weights_of_another_architecture_are_refused(checkpoint, config, tmp_path):
    folder = shutil.copytree(checkpoint.folder, tmp_path / "other")
    other = "rt_detr_v2" if config.model_type == "rt_detr" else "rt_detr"
    settings = json.loads((folder / "config.json").read_text())
    more = {"decoder_n_points": 3, "model_type": other}
    (folder / "config.json").write_text(json.dumps({**settings, **more}))
    with pytest.raises(InvalidCheckpoint, match=r"not those of a RTDetr.*of another shape"):
        find("sees", Source(str(folder))).load_model(MODELS[other])
