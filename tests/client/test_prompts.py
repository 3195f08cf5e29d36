"""Words and points of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from fovea_client.prompts import distinct, to_labels, to_points, to_sentences
from fovea_client.requests import Request
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.utils import deserialize_bytes_tensor

from fovea import prompts as fovea_prompts
from fovea import text
from fovea.errors import InvalidPrompt, InvalidText
from fovea.limits import Limits

words = st.text("abc éß猫-.?", min_size=1, max_size=12).filter(lambda word: word.strip(" .?"))
pixels = st.floats(0, 4000, width=32)


@given(st.lists(words, min_size=1, max_size=20))
def test_the_server_reads_the_labels_that_were_given(labels: list[str]) -> None:
    message = Request("detect", {"TEXT": to_labels(labels)}).message(None)
    sent = deserialize_bytes_tensor(message.raw_input_contents[0])
    assert list(message.inputs[0].shape) == [1, len(labels)]
    assert text.decode_labels(sent, Limits()) == labels


def test_one_string_is_split_at_its_periods_and_a_list_is_not() -> None:
    assert to_labels(" cat. a red car.") == ("cat", "a red car")
    assert to_labels(["St. Bernard", "Cat"]) == ("St. Bernard", "Cat")


@given(st.one_of(st.text(max_size=30), st.lists(st.text(max_size=8), max_size=4)))
def test_any_words_are_labels_or_refused_with_a_typed_error(phrases: str | list[str]) -> None:
    try:
        labels = to_labels(phrases)
    except InvalidText as error:
        assert "expected" in str(error)
    else:
        assert labels and all(label.strip() for label in labels)


def test_a_label_that_utf8_cannot_encode_is_named() -> None:
    with pytest.raises(InvalidText, match=r"label 1: .*UTF-8"):
        to_labels(["cat", "caf\udce9"])


def test_a_description_is_split_into_its_sentences() -> None:
    text = "A St. Bernard? It's 3.5 years old!\nTwo cats."
    assert to_sentences(text) == ("A St", "Bernard", "It's 3.5 years old", "Two cats")


@given(st.lists(st.text("aAb ", max_size=6)))
def test_distinct_words_can_always_be_labels(words: list[str]) -> None:
    labels = distinct(words)
    assert len({label.lower() for label in labels}) == len(labels)
    assert set(labels) <= set(words)
    assert not labels or to_labels(labels)


@given(st.integers(1, 8), st.integers(1, 4), st.booleans(), st.data())
def test_points_and_boxes_pass_the_servers_own_check(
    prompts: int, points: int, with_boxes: bool, data: st.DataObject
) -> None:
    coords = data.draw(hnp.arrays(np.float32, (prompts, points, 2), elements=pixels))
    labels = data.draw(hnp.arrays(np.int64, (prompts, points), elements=st.integers(0, 1)))
    corners = np.tile(np.array([1, 2, 30, 40], np.float32), (prompts, 1))
    sent, sent_labels = to_points(corners if with_boxes else None, coords, labels)
    fovea_prompts.check_prompts(sent, sent_labels, (4000, 4000), Limits())
    assert np.array_equal(sent[:, :points], coords)
    assert np.array_equal(sent_labels[:, :points], labels)


arrays = hnp.arrays(
    st.sampled_from([np.float32, np.int64]), hnp.array_shapes(min_dims=0, max_dims=4, max_side=4)
)


@given(st.none() | arrays, st.none() | arrays, st.none() | arrays)
def test_any_arrays_are_prompts_or_refused_with_a_typed_error(boxes, points, labels) -> None:
    try:
        coords, sent_labels = to_points(boxes, points, labels)
    except InvalidPrompt as error:
        assert "expected" in str(error)
    else:
        assert coords.shape == (*sent_labels.shape, 2)
        assert coords.dtype == np.float32 and sent_labels.dtype == np.int32
