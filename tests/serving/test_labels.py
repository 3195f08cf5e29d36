"""Labels come back unchanged: as a list with indices, through the real Triton."""

from __future__ import annotations

import numpy as np
import pytest
from fovea_client import Client, InvalidText
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demo.samples import FOLDER
from tests.serving import requests

pytestmark = pytest.mark.server

CARS, MAN = FOLDER / "scene-03.jpg", FOLDER / "man-on-snowboard.jpg"
LVIS_LABELS = 1203


@pytest.mark.parametrize(
    ("picture", "labels", "thresholds"),
    [
        (CARS, ["car", "automobile", "van"], {}),
        (CARS, ["racecar", "minivan"], {"box_threshold": 0.2}),
        (CARS, ["Red Car", "car.", "St. Bernard", "what?"], {"box_threshold": 0.2}),
        (MAN, ["snowboards", "skateboard"], {}),
        (MAN, ["man's hat", "🐱", "猫"], {"box_threshold": 0.1}),
        (CARS, ["car", "dog"], {"box_threshold": 0.3, "text_threshold": 0.9}),
    ],
)
def test_phrases_are_labels_that_were_asked(client: Client, picture, labels, thresholds):
    found = client.detect(picture, labels, **thresholds)
    assert len(found)
    assert found.phrases == tuple(labels[index] for index in found.label_indices)
    masked = client.detect_and_segment(picture, labels, **thresholds)
    assert masked.phrases == found.phrases


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    labels=st.lists(
        st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1), min_size=1, max_size=4
    )
)
def test_any_labels_are_answered_by_some_of_them_or_refused(client: Client, labels):
    try:
        found = client.detect(CARS, labels, box_threshold=0.05)
        thing = client.main_object(CARS, labels, box_threshold=0.05)
    except InvalidText:
        return
    assert set(found.phrases) <= set(labels)
    assert found.phrases == tuple(labels[index] for index in found.label_indices)
    assert thing.label == labels[thing.label_index]


def test_tensors_carry_the_bytes_and_the_first_index_of_equal_labels(triton_client):
    labels = ["dog", " Car", "car", "St. Bernard"]
    inputs = [requests.image(CARS.read_bytes()), requests.text(*labels)]
    out = requests.outputs(triton_client.infer("main_object", inputs))
    assert out["LABEL"].tolist() == [b" Car"]
    assert out["LABEL_INDEX"].tolist() == out["LABEL_INDICES"].tolist() == [1]
    assert out["PHRASES"].tolist() == [b" Car"]
    assert out["LABELS"].tolist() == [label.encode() for label in labels]
    assert out["LABEL_SCORES"][1] == out["LABEL_SCORES"][2] > 0.4


def test_clip_ranks_as_many_labels_as_lvis_has(client: Client):
    labels = [*(f"thing number {i}" for i in range(LVIS_LABELS - 1)), "car"]
    thing = client.main_object(CARS, labels)
    assert thing.label == labels[thing.label_index]
    assert len(thing.label_scores) == LVIS_LABELS
    assert np.isclose(sum(thing.label_scores.values()), 1, atol=1e-3)


def test_a_label_that_no_caption_holds_is_named(client: Client):
    with pytest.raises(InvalidText, match="label 1 'car car"):
        client.main_object(CARS, ["car", "car " * 300])


@pytest.mark.parametrize("description", ["cars, vans and automobiles", "Look! Cars, vans."])
def test_a_description_is_answered_in_its_own_words(client: Client, description):
    words = {"car", "cars", "van", "vans", "automobile", "automobiles"}
    assert client.main_object(CARS, description=description).label.lower() in words
