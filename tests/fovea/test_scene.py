"""A segmenter: how its verb is wired, and what its step returns."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fovea import masks
from fovea.deployment import Deployment
from fovea.errors import InvalidThreshold
from fovea.families.mask2former import Mask2FormerSpec
from fovea.families.segformer import SegformerSpec
from fovea.house import wire
from fovea.limits import Limits
from fovea.members import Member
from fovea.steps import STEPS
from fovea.verbs import InvalidDeployment, verbs_of
from tests.deployments import TINY

NAMES = ("sky", "traffic light", "雪")
SPEC = SegformerSpec((32, 64), (2, 4), NAMES)
QUERIES = Mask2FormerSpec((32, 64), (8, 16), 3, NAMES, "instance", 0.5, 0.5, 0.8)
SIZE_HW = (60, 80)
ON, OFF = np.array([1], np.int32), np.array([0], np.int32)
# Sky above, snow below.
MAPS = np.zeros((3, 2, 4), np.float32)
MAPS[0, 0] = MAPS[2, 1] = 1


def deployment(member: Member) -> Deployment:
    return Deployment((member,), verbs_of({"segment_scene": {"segments": "scene"}}))


SCENE = deployment(Member("scene", "segformer", SPEC))


def step(served: Deployment = SCENE, name: str = "scene_segment_scene"):
    """A step, from its configuration."""
    spec = next(s for s in wire(served).steps if s.model.name == name)
    context = SimpleNamespace(
        folder=None, parameters=dict(spec.model.parameters), room_for=lambda models: True
    )
    return getattr(import_module(STEPS[spec.kind]), spec.kind)(context)


def ask(served: Deployment = SCENE, size_hw=SIZE_HW, **tensors):
    size = {"original_size_hw": np.array(size_hw, np.int32)}
    return step(served).run({**size, **tensors}, frozenset())


def test_the_verb_takes_a_picture_and_gives_segments() -> None:
    [ensemble] = wire(SCENE).ensembles
    needed = [tensor.name for tensor in ensemble.inputs if not tensor.optional]
    assert needed == ["IMAGE"]
    assert [tensor.name for tensor in ensemble.outputs] == [
        *("MASKS", "SCORES", "PHRASES", "LABEL_INDICES", "LABEL_MAP", "IMAGE_SIZE")
    ]
    assert [one.model for one in ensemble.steps] == [
        *("preprocess_image", "scene", "scene_segment_scene")
    ]


def test_another_role_cannot_segment_a_scene() -> None:
    with pytest.raises(InvalidDeployment, match="segments takes a member of role segmenter"):
        Deployment(TINY.members[2:], verbs_of({"segment_scene": {"segments": "sam"}}))


def test_segments_have_the_names_and_ids_of_their_classes() -> None:
    found = ask(class_maps=MAPS)
    assert found["phrases"].tolist() == [b"sky", "雪".encode()]
    assert found["label_indices"].tolist() == [0, 2]
    assert found["label_indices"].dtype == np.int32
    assert found["scores"].tolist() == [1.0, 1.0]
    sky, snow = (masks.decode_rle(counts, SIZE_HW) for counts in found["masks"])
    assert sky[:29].all() and snow[31:].all() and (sky != snow).all()


@pytest.mark.parametrize(("asked", "maps"), [({}, 0), ({"WITH_LABEL_MAP": OFF}, 0)])
def test_a_label_map_is_not_made_unless_it_is_asked_for(asked, maps) -> None:
    assert ask(class_maps=MAPS, **asked)["label_map"].shape == (maps,)


def test_a_label_map_has_the_segments_at_their_places() -> None:
    found = ask(class_maps=MAPS, WITH_LABEL_MAP=ON)
    [png] = found["label_map"]
    drawn = np.asarray(Image.open(io.BytesIO(png)))
    assert drawn.shape == SIZE_HW and np.unique(drawn).tolist() == [0, 2]
    for counts, class_id in zip(found["masks"], found["label_indices"], strict=True):
        assert np.array_equal(drawn == class_id, masks.decode_rle(counts, SIZE_HW))


def test_the_threshold_is_the_checkpoints_unless_it_is_sent() -> None:
    served = deployment(Member("scene", "mask2former", QUERIES))
    # Three queries; the first is none of the classes.
    classes = np.array([[0, 0, 0, 9], [0, 2, 0, 0], [9, 0, 0, 0]], np.float32)
    answer = {"class_logits": classes, "mask_logits": np.full((3, 8, 16), 9, np.float32)}
    found = ask(served, **answer)
    assert found["phrases"].tolist() == [b"sky", b"traffic light"]
    assert ask(served, **answer, THRESHOLD=np.array([0.9], np.float32))["phrases"].tolist() == [
        b"sky"
    ]


def test_masks_that_overlap_are_as_many_as_the_limits_allow() -> None:
    small = Limits(mask_pixels=2 * SIZE_HW[0] * SIZE_HW[1])
    served = replace(deployment(Member("scene", "mask2former", QUERIES)), limits=small)
    classes = np.diag([9, 8, 7, 0])[:3].astype(np.float32)
    answer = {"class_logits": classes, "mask_logits": np.full((3, 8, 16), 9, np.float32)}
    assert ask(served, **answer)["label_indices"].tolist() == [0, 1]


def test_a_threshold_beyond_1_is_refused_by_the_first_step() -> None:
    pixels = "segment_scene_" + SCENE.play("scene").geometry.pixels.name
    png = io.BytesIO()
    Image.new("RGB", (9, 7)).save(png, "PNG")
    sent = {
        "IMAGE": np.array([png.getvalue()], np.object_),
        "THRESHOLD": np.array([1.5], np.float32),
    }
    with pytest.raises(InvalidThreshold, match="THRESHOLD: expected"):
        step(name="preprocess_image").run(sent, frozenset([pixels]))


def test_maps_of_many_classes_are_never_enlarged_as_a_whole() -> None:
    names = tuple(f"class {i}" for i in range(150))
    served = deployment(Member("scene", "segformer", SegformerSpec((32, 32), (8, 8), names)))
    maps = np.random.default_rng(0).normal(size=(150, 8, 8)).astype(np.float32)
    maps[7, :, :6] += 20
    maps[9, :, 6:] += 20
    height, width = size_hw = (1500, 2000)
    tracemalloc.start()
    found = ask(served, size_hw, class_maps=maps, WITH_LABEL_MAP=ON)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {7, 9} <= set(found["label_indices"].tolist())
    assert peak < 10 * height * width < 150 * 4 * height * width
