"""OWL-ViT's answers equal those of transformers' zero-shot object detection."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from transformers import OwlViTConfig, pipeline
from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

import fovea.local
from export import families, stand_ins
from export.checkpoints import find
from export.deployments import Export, read_deployment, run
from export.errors import InvalidCheckpoint, UnsupportedProcessor
from export.families.owlvit import read_spec
from export.preprocessing import photograph
from fovea import boxes
from fovea.families.owl import select_boxes
from fovea.members import Source

LABELS = ["cat", "red van", "a snowboarder"]
SIZES_HW = ((120, 200), (333, 250), (60, 61))
TOML = """
[members]
owlvit = "{folder}"
[verbs]
detect = {{ detects = "owlvit" }}
"""
# In pixels: the pipeline's boxes are whole numbers, and pixels here are rounded.
NEAR = 2.0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("owlvit")
    return find("owlvit", Source(str(stand_ins.write("owlvit", "tiny", folder)["owlvit"])))


@pytest.fixture(scope="module")
def client(checkpoint, tmp_path_factory, members):
    folder = tmp_path_factory.mktemp("deployment")
    path = folder / "open.toml"
    path.write_text(TOML.format(folder=checkpoint.folder))
    run(Export(read_deployment(str(path)), folder / "export", members=members))
    with fovea.local.open(folder / "export") as opened:
        yield opened


@pytest.fixture(scope="module")
def ask(checkpoint):
    family = families.load("owlvit")
    return pipeline(
        "zero-shot-object-detection",
        model=family.load_model(checkpoint),
        image_processor=family.load_processor(checkpoint),
        tokenizer=family.load_tokenizer(checkpoint),
    )


@pytest.mark.parametrize("size_hw", SIZES_HW)
@pytest.mark.parametrize("label", LABELS)
def test_boxes_are_those_of_the_pipeline(client, ask, size_hw, label):
    """It takes one label at a time, suppresses no boxes, and does not clip them."""
    picture, file = photograph(size_hw), io.BytesIO()
    picture.save(file, "PNG")
    theirs = ask(picture, [label], threshold=0.5)
    given_boxes = [[one["box"][key] for key in ("xmin", "ymin", "xmax", "ymax")] for one in theirs]
    within = boxes.clip(np.array(given_boxes, np.float32), size_hw)
    scores = np.array([one["score"] for one in theirs], np.float32)
    found = client.detect(file.getvalue(), [label], box_threshold=0.5)
    assert found.scores[0] == pytest.approx(scores.max(), abs=0.01)
    for box, score in zip(found.boxes, found.scores, strict=True):
        same = np.abs(within - box).max(axis=1) <= NEAR
        assert np.isclose(scores[same], score, atol=0.01).any()
    for box, score in zip(within, scores, strict=True):
        kept = boxes.pairwise_iou(box[None], found.boxes)[0] > 0.5
        assert (found.scores[kept] >= score - 0.01).any(), "neither found nor suppressed"


EDGES = st.integers(1, 300)
LOGITS = arrays(np.float32, (12, 3), elements=st.floats(-6, 6, width=32))
BOXES = arrays(np.float32, (12, 4), elements=st.floats(0, 1, width=32))


@settings(max_examples=60)
@given(LOGITS, BOXES, EDGES, EDGES, st.booleans(), st.integers(1, 12))
def test_boxes_lie_within_the_picture_and_apart(logits, given_boxes, height, width, padded, most):
    frame_hw = (max(height, width),) * 2 if padded else (height, width)
    found = select_boxes(
        logits,
        given_boxes,
        (height, width),
        frame_hw=frame_hw,
        box_threshold=0.5,
        nms_iou=0.7,
        max_boxes=most,
    )
    assert len(found.scores) <= most
    assert (found.scores > 0.5).all() and (np.diff(found.scores) <= 0).all()
    assert np.array_equal(boxes.clip(found.boxes_xyxy, (height, width)), found.boxes_xyxy)
    assert (boxes.area(found.boxes_xyxy) > 0).all()
    overlaps = boxes.pairwise_iou(found.boxes_xyxy, found.boxes_xyxy)
    assert (overlaps[~np.eye(len(overlaps), dtype=bool)] <= 0.7).all()


CONFIG = OwlViTConfig(
    text_config={"hidden_size": 32, "num_attention_heads": 4},
    vision_config={"image_size": 96, "patch_size": 16},
    projection_dim=32,
)
SIZE = {"height": 96, "width": 96}


def test_the_spec_is_the_checkpoints_own():
    spec = read_spec(CONFIG, OwlViTImageProcessorPil(size=SIZE, resample=2), 0)
    assert (spec.image_size, spec.num_queries, spec.embed_dim, spec.resample) == (96, 36, 32, 2)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"size": {"height": 96, "width": 64}}, InvalidCheckpoint, r"96 x 96 pixels, .* 96 x 64"),
        ({"size": {"shortest_edge": 96}}, UnsupportedProcessor, "size with height, width"),
        ({"size": SIZE, "do_center_crop": True}, UnsupportedProcessor, "do_center_crop=False"),
        ({"size": SIZE, "do_resize": False}, UnsupportedProcessor, "do_resize=True"),
    ],
)
def test_an_unsupported_processor_is_refused(settings, error, message):
    with pytest.raises(error, match=message):
        read_spec(CONFIG, OwlViTImageProcessorPil(**settings), 0)


def test_labels_that_the_class_head_cannot_compare_are_refused():
    other = OwlViTConfig(**CONFIG.to_dict() | {"projection_dim": 64})
    with pytest.raises(InvalidCheckpoint, match=r"vectors of 32 .* projection_dim=64"):
        read_spec(other, OwlViTImageProcessorPil(size=SIZE), 0)
