"""DETR's answers are those of transformers on the same canvas, from the picture to the boxes."""

import json
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil
from transformers.models.detr.modeling_detr import DetrObjectDetectionOutput

from export.checkpoints import find
from export.errors import InvalidCheckpoint, InvalidOption, UnsupportedProcessor
from export.families.detr import read_spec
from export.family_checkpoints import requests
from export.members import MemberExport, export_member
from export.parity import open_onnxruntime
from export.preprocessing import photograph
from export.stand_ins.detr import TINY_NAMES
from fovea.families.detr import Detr, DetrSpec
from fovea.images import Picture
from fovea.members import Source
from fovea.roles import Selection

SPEC = DetrSpec(96, 128, (128, 128), 10, TINY_NAMES, box_threshold=0.5, resample=2)


@pytest.fixture(scope="module")
def request_():
    return requests("detr")["detr"]


@pytest.fixture(scope="module")
def processor(request_):
    """The checkpoint's own, on the canvas that every picture has here."""
    made = request_.checkpoint.load_image_processor()
    made.pad_size = {"height": 128, "width": 128}
    return made


@pytest.fixture(scope="module")
def detects(request_):
    """The role, and its graph run on a picture as the first step prepares it."""
    exported = export_member(request_, report=lambda network, what: None)
    role, session = exported.member.play(), open_onnxruntime(exported.graph(""))
    names = [tensor.name for tensor in role.finish_tensors]

    def answer(picture):
        pixels, valid_hw = role.geometry.apply(Picture(picture))
        out = session.run(names, {"pixel_values": pixels[None], "valid_hw": valid_hw[None]})
        return {name: array[0] for name, array in zip(names, out, strict=True)}

    return role, answer


@pytest.mark.parametrize("size_hw", [(240, 320), (320, 200)])
def test_answers_are_those_of_transformers(request_, processor, detects, size_hw):
    picture = photograph(size_hw)
    role, answer = detects
    model = request_.open().networks[0].module.model
    with torch.inference_mode():
        out = model(**processor(picture, return_tensors="pt"))
    # Between two scores: at one of them, the last bit of a softmax would decide.
    scores = out.logits.softmax(-1)[0, :, :-1].max(-1).values.sort(descending=True).values
    threshold = float(scores[6:8].mean())
    [theirs] = processor.post_process_object_detection(
        out, threshold=threshold, target_sizes=[size_hw]
    )
    order = theirs["scores"].argsort(descending=True)
    theirs = {name: array[order].numpy() for name, array in theirs.items()}
    ours = role.select(answer(picture), size_hw, Selection(threshold, 100))
    assert len(ours.scores) == 7
    assert ours.label_indices.tolist() == theirs["labels"].tolist()
    assert ours.words == [TINY_NAMES[index] for index in theirs["labels"]]
    assert len(set(ours.words)) > 1, "a constant answer is no proof"
    height, width = size_hw
    inside = np.clip(theirs["boxes"], 0, [width, height, width, height])
    assert np.allclose(ours.scores, theirs["scores"], atol=1e-4)
    assert np.allclose(ours.boxes_xyxy, inside, atol=0.1)


@given(seed=st.integers(0, 2**32 - 1), spread=st.floats(0.5, 30), threshold=st.floats(0, 1))
def test_boxes_are_those_of_the_processor(seed, spread, threshold):
    rng = np.random.default_rng(seed)
    raw = {
        "logits": rng.normal(0, spread, (6, len(TINY_NAMES) + 1)).astype(np.float32),
        "pred_boxes": rng.uniform(0, 1, (6, 4)).astype(np.float32),
    }
    batch = {name: torch.from_numpy(array)[None] for name, array in raw.items()}
    scores = batch["logits"].softmax(-1)[0, :, :-1].max(-1).values
    if np.abs(scores.numpy() - threshold).min() < 1e-5:
        return  # the last bit of a softmax would decide
    [theirs] = DetrImageProcessorPil().post_process_object_detection(
        DetrObjectDetectionOutput(**batch), threshold=threshold, target_sizes=[(50, 70)]
    )
    ours = Detr("sees", SPEC).select(raw, (50, 70), Selection(threshold, 100))
    assert sorted(ours.label_indices) == sorted(theirs["labels"].tolist())
    assert np.allclose(ours.scores, theirs["scores"].sort(descending=True).values, atol=1e-6)
    areas = np.clip(theirs["boxes"], 0, torch.tensor([70, 50, 70, 50])).sum(1).sort().values
    assert np.allclose(np.sort(ours.boxes_xyxy.sum(1)), areas, atol=1e-3)


def test_a_smaller_canvas_is_an_option(request_):
    capped = MemberExport(request_.checkpoint, (("longest_edge", 96),))
    assert capped.open().role.geometry.output_hw == (96, 96)
    with pytest.raises(InvalidOption, match="longest_edge: expected a pixel or more, got 0"):
        MemberExport(request_.checkpoint, (("longest_edge", 0),)).open()


def test_the_spec_has_the_checkpoints_settings(request_):
    assert request_.open().member.spec == SPEC


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"do_pad": False}, "expected do_pad=True, got False"),
        ({"size": {"height": 96, "width": 96}}, "expected size with shortest_edge, longest_edge"),
        ({"pad_size": {"height": 100, "width": 200}}, "expected pad_size of at least 128 x 128"),
    ],
)
def test_a_processor_with_other_settings_is_refused(request_, settings, said):
    config = request_.open().networks[0].module.model.config
    size = {"size": {"shortest_edge": 96, "longest_edge": 128}}
    with pytest.raises(UnsupportedProcessor, match=said):
        read_spec(config, DetrImageProcessorPil(**{**size, **settings}))


@pytest.mark.parametrize(
    "backbone",
    [
        {"backbone_config": None, "use_timm_backbone": True, "backbone": "resnet50"},
        {"backbone_config": {"model_type": "timm_backbone", "backbone": "resnet50"}},
    ],
)
def test_a_backbone_of_timm_is_refused_with_the_revision_to_use(request_, backbone, tmp_path):
    folder = shutil.copytree(request_.checkpoint.folder, tmp_path / "main")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **backbone}))
    with pytest.raises(InvalidCheckpoint, match="facebook/detr-resnet-50@no_timm"):
        find("sees", Source(str(folder)))
