"""A detector with its own classes: its wiring, and its answers from logits and boxes."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.deployment import Deployment
from fovea.errors import InvalidThreshold
from fovea.families.rt_detr import RtDetr, RtDetrSpec
from fovea.house import wire
from fovea.limits import Limits
from fovea.members import Member
from fovea.roles import Selection
from fovea.steps import STEPS
from fovea.verbs import InvalidDeployment, check_members, verbs_of
from tests.deployments import TINY

NAMES = ("cat", "traffic light", "猫")
SPEC = RtDetrSpec((64, 96), 4, NAMES, box_threshold=0.5, resample=2)
SEES = Member("sees", "rt_detr", SPEC)
DEPLOYMENT = Deployment(
    members=(SEES, TINY.members[2]),
    verbs=verbs_of(
        {"detect": {"detects": "sees"}, "detect_and_segment": {"detects": "sees", "cuts": "sam"}}
    ),
)
SIZE_HW = (60, 80)
ANSWER = {
    "logits": np.array(
        [[2.0, -3, -3], [-3, 1, 3], [-3, -3, -3], [-3, 0.5, -3]],
        np.float32,
    ),
    "pred_boxes": np.array(
        [[0.5, 0.5, 0.5, 0.5], [0.1, 0.1, 0.4, 0.2], [0.5, 0.5, 1, 1], [0.9, 0.5, 0.1, 0.1]],
        np.float32,
    ),
}


def step(deployment=DEPLOYMENT):
    """The last step of `detect`, from its configuration."""
    spec = next(s for s in wire(deployment).steps if s.model.name == "sees_select_boxes")
    context = SimpleNamespace(folder=None, parameters=dict(spec.model.parameters))
    return getattr(import_module(STEPS[spec.kind]), spec.kind)(context)


def ask(**more):
    given = {name: np.array([value], np.float32) for name, value in more.items()}
    size = {"original_size_hw": np.array(SIZE_HW, np.int32)}
    return step().run({**ANSWER, **size, **given}, frozenset())


def test_its_verbs_take_no_text():
    for ensemble in wire(DEPLOYMENT).ensembles:
        optional = {tensor.name: tensor.optional for tensor in ensemble.inputs}
        assert optional == {"IMAGE": False, "BOX_THRESHOLD": True}


def test_its_verbs_answer_like_an_open_detectors():
    theirs = {ensemble.name: ensemble.outputs for ensemble in wire(TINY).ensembles}
    for ensemble in wire(DEPLOYMENT).ensembles:
        assert ensemble.outputs == theirs[ensemble.name]


def test_it_names_no_main_object():
    main = verbs_of({"main_object": {"ranks": "clip", "detects": "sees", "cuts": "sam"}})
    roles = {"clip": "embedder", "sees": "detector", "sam": "promptable"}
    with pytest.raises(InvalidDeployment, match="open_detector, 'sees' is of role detector"):
        check_members(main, roles)


def test_boxes_have_the_names_and_ids_of_their_classes():
    out = ask()
    assert out["phrases"].tolist() == ["猫".encode(), b"cat", b"traffic light", b"traffic light"]
    assert out["words"].tolist() == out["phrases"].tolist()
    assert out["label_indices"].tolist() == [2, 0, 1, 1]
    assert np.allclose(out["scores"], 1 / (1 + np.exp(-np.array([3, 2, 1, 0.5]))))
    assert np.allclose(out["boxes"][0], [0, 0, 24, 12], atol=1e-4), "clipped to the picture"
    assert np.allclose(out["boxes"][1], [20, 15, 60, 45], atol=1e-4)
    assert out["point_labels"].tolist() == [[2, 3]] * 4


def test_the_threshold_of_the_request_wins():
    assert ask(BOX_THRESHOLD=0.95)["label_indices"].tolist() == [2]
    none = ask(BOX_THRESHOLD=0.99)
    assert none["boxes"].shape == (0, 4) and none["phrases"].shape == (0,)
    assert none["point_labels"].tolist() == [[-1, -1]]
    with pytest.raises(InvalidThreshold, match="BOX_THRESHOLD"):
        ask(BOX_THRESHOLD=1.5)


def test_an_answer_has_no_more_boxes_than_masks_may_be_drawn():
    limits = Limits(mask_pixels=2 * SIZE_HW[0] * SIZE_HW[1])
    few = step(replace(DEPLOYMENT, limits=limits))
    size = {"original_size_hw": np.array(SIZE_HW, np.int32)}
    assert few.run({**ANSWER, **size}, frozenset())["label_indices"].tolist() == [2, 0]


@given(
    queries=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
    threshold=st.floats(0, 1),
    most=st.integers(1, 20),
    size_hw=st.tuples(st.integers(1, 3000), st.integers(1, 3000)),
)
def test_boxes_are_in_the_picture_and_the_best_come_first(queries, seed, threshold, most, size_hw):
    rng = np.random.default_rng(seed)
    answer = {
        "logits": rng.normal(0, 4, (queries, len(NAMES))).astype(np.float32),
        "pred_boxes": rng.uniform(0, 1, (queries, 4)).astype(np.float32),
    }
    detects = RtDetr("sees", replace(SPEC, num_queries=queries))
    found = detects.select(answer, size_hw, Selection(threshold, most))
    scores = 1 / (1 + np.exp(-answer["logits"].astype(np.float64)))
    above = np.sort(scores[scores > threshold])[::-1][: min(most, queries)]
    assert abs(len(found.scores) - len(above)) <= 1, "a score at the threshold may round"
    shared = min(len(above), len(found.scores))
    assert np.allclose(found.scores[:shared], above[:shared], atol=1e-6)
    height, width = size_hw
    assert (found.boxes_xyxy >= 0).all()
    assert (found.boxes_xyxy <= [width, height, width, height]).all()
    assert found.words == [NAMES[index] for index in found.label_indices]
