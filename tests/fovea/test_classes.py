"""classify: a classifier's own classes, or the caller's labels, best first."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from fovea.deployment import Deployment
from fovea.errors import InvalidSetting, InvalidText
from fovea.families.convnext import ConvNext
from fovea.families.square_classifier import SquareClassifierSpec
from fovea.house import wire
from fovea.local import make_step
from fovea.members import Member
from fovea.steps.tensors import verb_pixels
from fovea.verbs import InvalidDeployment, verbs_of
from tests.deployments import TINY
from tests.fovea.test_steps import (
    EMBED_DIM,
    Surroundings,
    ask,
    jpeg,
    pixels,
    text,
    write_tokenizers,
)

LABELS = ("tench, Tinca tinca", "hen", "cat", "猫")
SPEC = SquareClassifierSpec(
    image_size=32, class_names=LABELS, multi_label=False, resize_edge=36, resample=3, top_k=3
)
CLOSED = Deployment(
    (Member("convnext", "convnext", SPEC),), verbs_of({"classify": {"classifies": "convnext"}})
)
STEPS = {
    spec.model.name: make_step(spec, Path("nowhere"), networks={}) for spec in wire(CLOSED).steps
}
SOME_LOGITS = np.array([0.5, -1, 3, 1], np.float32)


def logits(size: int | st.SearchStrategy[int]) -> st.SearchStrategy:
    return arrays(np.float32, size, elements=st.floats(-500, 500, width=32))


def top_k(value: int) -> dict:
    return {"TOP_K": np.array([value], np.int32)}


@pytest.fixture
def surroundings(tmp_path):
    write_tokenizers(tmp_path)
    return Surroundings(tmp_path)


def select(found, **more):
    return STEPS["convnext_select_classes"].run({"logits": found, **more}, frozenset())


def test_a_classifier_names_its_best_classes():
    out = select(SOME_LOGITS)
    assert [label.decode() for label in out["labels"]] == ["cat", "猫", "tench, Tinca tinca"]
    assert out["label_indices"].tolist() == [2, 3, 0]
    assert out["label_scores"].dtype == np.float32
    expected = np.exp([3, 1, 0.5]) / np.exp(SOME_LOGITS).sum()
    assert out["label_scores"] == pytest.approx(expected)


@pytest.mark.parametrize(("asked", "told"), [(1, 1), (4, 4), (5, 4), (2**31 - 1, 4)])
def test_top_k_of_the_request_wins_up_to_all_classes(asked, told):
    out = select(SOME_LOGITS, **top_k(asked))
    assert [len(array) for array in out.values()] == [told] * 3


@pytest.mark.parametrize("wrong", [0, -1, -(2**31)])
def test_the_first_step_refuses_a_top_k_below_1(wrong):
    with pytest.raises(InvalidSetting, match=f"TOP_K: expected a whole number from 1, got {wrong}"):
        STEPS["preprocess_image"].run({"IMAGE": jpeg(), **top_k(wrong)}, frozenset())


@given(logits(len(LABELS)), st.integers(1, 6))
def test_classes_come_in_falling_order_and_each_once(found, asked):
    out = select(found, **top_k(asked))
    scores, places = out["label_scores"], out["label_indices"].tolist()
    assert (np.diff(scores) <= 0).all()
    assert len(set(places)) == len(places) == min(asked, len(LABELS))
    assert [label.decode() for label in out["labels"]] == [LABELS[place] for place in places]


@given(logits(st.integers(1, 9)))
def test_softmax_compares_classes_and_a_sigmoid_takes_each_alone(found):
    closed = ConvNext("convnext", SPEC).scores(found)
    assert closed.sum() == pytest.approx(1, abs=1e-5)
    many = ConvNext("convnext", replace(SPEC, multi_label=True))
    scores = many.scores(found)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores.tolist() == [many.scores(found[[i]])[0] for i in range(len(found))]
    exact = 1 / (1 + np.exp(-found.astype(np.float64)))
    np.testing.assert_allclose(scores, exact, atol=1e-6)


def test_labels_of_the_caller_come_best_first_with_their_places(surroundings):
    step = surroundings.step("clip_rank_classes")
    embeds = np.zeros(EMBED_DIM, np.float32)
    asked = text("cat", "Dog", "van", "CAT ")
    step.run({"TEXT": asked, "image_embeds": embeds}, frozenset())
    embeds[surroundings.embedded[1][1] % EMBED_DIM] = 1
    out = step.run({"TEXT": asked, "image_embeds": embeds}, frozenset())
    assert out["labels"].tolist() == [b"Dog", b"cat", b"van", b"CAT "]
    assert out["label_indices"].tolist() == [1, 0, 2, 3]
    assert out["label_scores"][1] == out["label_scores"][3]
    assert surroundings.counted["fovea_label_cache_misses_total"] == 3


def test_the_first_step_checks_the_labels_of_classify(surroundings):
    wanted = pixels("clip", "classify")
    assert ask(surroundings, wanted, TEXT=text("cat"))
    with pytest.raises(InvalidText, match="at most 12 tokens"):
        ask(surroundings, wanted, TEXT=text("cat", "dog " * 11))


def test_the_verb_takes_what_its_member_can_use():
    closed = {spec.name: spec for spec in wire(CLOSED).ensembles}["classify"]
    asked = {spec.name: spec for spec in wire(TINY).ensembles}["classify"]
    assert [(t.name, t.optional) for t in closed.inputs] == [("IMAGE", False), ("TOP_K", True)]
    assert [(t.name, t.optional) for t in asked.inputs] == [("IMAGE", False), ("TEXT", False)]
    assert closed.outputs == asked.outputs


def test_a_member_that_neither_classifies_nor_embeds_is_refused():
    with pytest.raises(
        InvalidDeployment,
        match="a member of role embedder or multimodal_embedder or classifier, 'sam'",
    ):
        replace(TINY, verbs=verbs_of({"classify": {"classifies": "sam"}}))


def first_pixels(resample: int, decode_margin: float) -> np.ndarray:
    """The first step's output for a JPEG of noise that is far larger than needed."""
    noise = np.random.default_rng(0).integers(0, 256, (384, 512, 3), np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(noise).save(encoded, "JPEG", quality=95)
    member = Member("convnext", "convnext", replace(SPEC, resample=resample))
    deployment = replace(CLOSED, members=(member,), decode_margin=decode_margin)
    step = make_step(wire(deployment).steps[0], Path("nowhere"), networks={})
    name = verb_pixels("classify", member.play().geometry).name
    image = np.array([encoded.getvalue()], np.object_)
    return step.run({"IMAGE": image}, frozenset({name}))[name]


def test_a_picture_is_decoded_in_full_where_its_nearest_pixels_are_wanted():
    nearest, bicubic = 0, 3
    assert np.array_equal(first_pixels(nearest, 2.0), first_pixels(nearest, 0.0))
    assert not np.array_equal(first_pixels(bicubic, 2.0), first_pixels(bicubic, 0.0))
