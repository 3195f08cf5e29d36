"""Words and points of every kind."""

from __future__ import annotations

import numpy as np
from fovea_client.prompts import distinct, join_phrases, to_points
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fovea import prompts as fovea_prompts
from fovea import text
from fovea.errors import InvalidPrompt, InvalidText
from fovea.limits import Limits

words = st.text("abc éß猫-", min_size=1, max_size=12).filter(str.strip)
pixels = st.floats(0, 4000, width=32)


@given(st.lists(words, min_size=1, max_size=20))
def test_the_server_reads_the_labels_that_were_given(labels: list[str]) -> None:
    expected = list(dict.fromkeys(" ".join(label.lower().split()) for label in labels))
    assert text.split_phrases(join_phrases(labels), Limits()) == expected
    assert text.split_phrases(join_phrases(join_phrases(labels)), Limits()) == expected


@given(st.one_of(st.text(max_size=30), st.lists(st.text(max_size=8), max_size=4)))
def test_any_words_join_or_are_refused_with_a_typed_error(phrases: str | list[str]) -> None:
    try:
        joined = join_phrases(phrases)
    except InvalidText as error:
        assert "expected" in str(error)
    else:
        assert joined.endswith(".") and joined.strip(" .")


@given(st.lists(st.text("ab. ", max_size=6)))
def test_distinct_phrases_can_always_be_labels(phrases: list[str]) -> None:
    labels = distinct(phrases)
    assert len(set(labels)) == len(labels)
    assert not labels or join_phrases(labels)


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
