"""What each verb sends, and how it reads the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fovea_client import Client, InvalidInput, InvalidPrompt, InvalidText, ServerError

from tests.client.fake_triton import (
    SQUARE,
    SQUARE_BOX,
    Call,
    FakeTriton,
    detections,
    main_object,
    plausible,
    texts,
)


def test_the_main_object_has_label_box_and_mask(client: Client, png: bytes) -> None:
    thing = client.main_object(png, ["man", "snowboard"])
    assert thing.found
    assert thing.label == "man"
    assert list(thing.label_scores) == ["man", "snowboard"]
    assert thing.label_score == pytest.approx(0.9)
    assert thing.box.dtype == np.float32 and thing.box.tolist() == SQUARE_BOX
    assert thing.box_score == pytest.approx(0.9) and thing.mask_score == pytest.approx(0.8)
    assert np.array_equal(thing.mask.to_numpy(), SQUARE)
    assert thing.size_hw == SQUARE.shape


def test_labels_travel_one_by_one_and_the_image_as_it_is(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    client.main_object(png, ["man", "a snowboard"])
    client.main_object(png, "man. a snowboard.")
    for call in triton.calls:
        assert call.model == "main_object"
        assert set(call.inputs) == {"IMAGE", "TEXT"}
        assert call.inputs["IMAGE"].shape == (1, 1)
        assert call.inputs["IMAGE"][0, 0] == png
        assert call.labels() == ["man", "a snowboard"]


def test_an_answer_has_the_labels_as_they_were_asked(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    asked = ["St. Bernard", "Red Car", "t-shirt", "猫", "Red Car"]
    assert client.detect(png, asked).phrases == tuple(asked)
    triton.behave = lambda call: (
        main_object(*call.labels()) | {"LABEL_INDEX": np.array([1], np.int32)}
    )
    thing = client.main_object(png, iter(asked))
    assert (thing.label, thing.label_index) == ("Red Car", 1)
    assert set(thing.label_scores) == set(asked)


def test_thresholds_are_sent_only_when_given(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    client.detect(png, "cat", box_threshold=0.25)
    inputs = triton.calls[0].inputs
    assert set(inputs) == {"IMAGE", "TEXT", "BOX_THRESHOLD"}
    assert inputs["BOX_THRESHOLD"].shape == (1, 1)
    assert inputs["BOX_THRESHOLD"].dtype == np.float32


def test_nothing_found_is_an_answer(triton: FakeTriton, client: Client, png: bytes) -> None:
    triton.behave = lambda call: main_object("cat", "dog", found=False)
    thing = client.main_object(png, ["cat", "dog"])
    assert not thing.found
    assert thing.label == "cat"
    assert thing.box is None and thing.mask is None
    assert len(thing.to_detections()) == 0


def test_a_description_is_grounded_first_and_its_phrases_are_the_labels(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    def behave(call):
        if call.model == "detect":
            words = texts("man", "", "new snowboard", "Man")
            return detections(*["the sentence"] * 4) | {"WORDS": words}
        return main_object("man", "new snowboard")

    triton.behave = behave
    thing = client.main_object(png, description="The man skiing on his new snowboard!")
    assert [call.model for call in triton.calls] == ["detect", "main_object"]
    assert triton.calls[0].labels() == ["The man skiing on his new snowboard"]
    assert triton.calls[1].labels() == ["man", "new snowboard"]
    assert thing.label == "man"


@pytest.mark.parametrize("named", [None, "detect_owlv2"])
def test_a_descriptions_words_are_found_by_the_verb_that_was_named(
    triton: FakeTriton, client: Client, png: bytes, named: str | None
) -> None:
    verbs = [named or "detect", "main_object_owlv2"]
    triton.behave = lambda call: detections("man") if call.model == verbs[0] else main_object("man")
    asked = {"description": "The man.", "verb": verbs[1], "detect_verb": named}
    assert client.main_object(png, **asked).label == "man"
    assert [call.model for call in triton.calls] == verbs
    (outcome,) = client.main_object_many([png], **asked)
    assert outcome.unwrap().label == "man"
    assert [call.model for call in triton.calls] == 2 * verbs


def test_a_description_of_nothing_in_the_picture_finds_nothing(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    triton.behave = lambda call: detections("", "")
    thing = client.main_object(png, description="A unicorn.")
    assert not thing.found and thing.label is None and thing.label_score is None
    assert len(triton.calls) == 1


def test_detect_reads_boxes_scores_and_phrases(client: Client, png: bytes) -> None:
    found = client.detect(png, "cat. dog.")
    assert len(found) == 2
    assert found.label_indices.tolist() == [0, 1]
    assert found.boxes.shape == (2, 4)
    assert found.phrases == ("cat", "dog")
    assert found.scores.tolist() == pytest.approx([0.9, 0.5])


def test_no_detection_is_an_empty_answer(triton: FakeTriton, client: Client, png: bytes) -> None:
    triton.behave = lambda call: detections()
    found = client.detect(png, "cat")
    assert len(found) == 0 and found.boxes.shape == (0, 4)


def test_detect_and_segment_has_a_mask_for_each_box(client: Client, png: bytes) -> None:
    found = client.detect_and_segment(png, ["cat", "dog"])
    assert len(found) == len(found.masks) == len(found.mask_scores) == 2


def test_embeddings_are_vectors(triton: FakeTriton, client: Client, png: bytes) -> None:
    assert client.embed_image(png).tolist() == [1, 0, 0]
    assert client.embed_text("A cat. On a mat.").tolist() == [0, 1, 0]
    assert triton.calls[1].text() == "A cat. On a mat."


@pytest.mark.parametrize(
    ("prompts", "coords", "labels"),
    [
        ({"boxes": [1, 2, 3, 4]}, [[[1, 2], [3, 4]]], [[2, 3]]),
        ({"boxes": [[1, 2, 3, 4]] * 2}, [[[1, 2], [3, 4]]] * 2, [[2, 3]] * 2),
        ({"points": [5, 6]}, [[[5, 6]]], [[1]]),
        ({"points": [[5, 6], [7, 8]]}, [[[5, 6]], [[7, 8]]], [[1], [1]]),
        (
            {"points": [[[5, 6], [7, 8]]], "point_labels": [[1, 0]]},
            [[[5, 6], [7, 8]]],
            [[1, 0]],
        ),
        (
            {"points": [[5, 6]], "boxes": [1, 2, 3, 4], "point_labels": [0]},
            [[[5, 6], [1, 2], [3, 4]]],
            [[0, 2, 3]],
        ),
    ],
)
def test_prompts_travel_in_original_pixels(
    triton: FakeTriton, client: Client, png: bytes, prompts, coords, labels
) -> None:
    result = client.segment(png, **prompts)
    inputs = triton.calls[0].inputs
    assert inputs["POINT_COORDS"].dtype == np.float32
    assert inputs["POINT_LABELS"].dtype == np.int32
    assert inputs["POINT_COORDS"].tolist() == [coords]
    assert inputs["POINT_LABELS"].tolist() == [labels]
    assert len(result) == len(coords)


@pytest.mark.parametrize(
    "prompts",
    [
        {},
        {"boxes": [1, 2, 3]},
        {"boxes": [3, 2, 1, 4]},
        {"boxes": np.zeros((0, 4))},
        {"boxes": [[1, 2, 3, float("nan")]]},
        {"points": [[1, 2, 3]]},
        {"points": [[[1, 2]], [[1, 2], [3, 4]]]},
        {"points": "no"},
        {"points": [[1, 2]], "point_labels": [1, 1]},
        {"points": [[1, 2]], "point_labels": [2]},
        {"boxes": [1, 2, 3, 4], "point_labels": [1]},
        {"boxes": [1, 2, 3, 4], "points": [[1, 2], [3, 4]]},
    ],
)
def test_wrong_prompts_are_refused_before_the_network(
    triton: FakeTriton, client: Client, png: bytes, prompts
) -> None:
    with pytest.raises(InvalidPrompt, match="expected"):
        client.segment(png, **prompts)
    assert not triton.calls


@pytest.mark.parametrize("labels", ["", " . ", [], [""], [1]])
def test_wrong_labels_are_refused_before_the_network(
    triton: FakeTriton, client: Client, png: bytes, labels
) -> None:
    with pytest.raises(InvalidText, match="expected"):
        client.main_object(png, labels)
    assert not triton.calls


def test_labels_and_description_exclude_each_other(client: Client, png: bytes) -> None:
    with pytest.raises(InvalidInput, match="labels or a description"):
        client.main_object(png)
    with pytest.raises(InvalidInput, match="labels or a description"):
        client.main_object(png, ["cat"], description="A cat.")


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_thresholds_are_within_0_and_1(client: Client, png: bytes, threshold: float) -> None:
    with pytest.raises(InvalidInput, match="TEXT_THRESHOLD"):
        client.detect(png, "cat", text_threshold=threshold)


def test_an_answer_without_a_tensor_is_the_servers_fault(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    triton.behave = lambda call: {"SCORES": np.zeros(1, np.float32)}
    with pytest.raises(ServerError, match="LABEL_INDICES"):
        client.detect(png, "cat")


def test_headers_travel_with_each_request(triton: FakeTriton, png: bytes) -> None:
    with Client(triton.url, headers={"Authorization": "Bearer x"}) as client:
        client.detect(png, "cat")
    assert triton.calls[0].metadata["authorization"] == "Bearer x"


def under_their_own_name(call: Call) -> Any:
    return plausible(replace(call, model=call.model.removesuffix("_of_mine")))


NAMED: dict[str, Callable[[Client, bytes, str], Any]] = {
    "main_object": lambda client, png, verb: client.main_object(png, "cat", verb=verb),
    "detect": lambda client, png, verb: client.detect(png, "cat", verb=verb),
    "detect_and_segment": lambda client, png, verb: client.detect_and_segment(
        png, "cat", verb=verb
    ),
    "segment": lambda client, png, verb: client.segment(png, points=(1, 1), verb=verb),
    "segment_everything": lambda client, png, verb: client.segment_everything(png, verb=verb),
    "embed_objects": lambda client, png, verb: client.embed_objects(png, verb=verb),
    "segment_scene": lambda client, png, verb: client.segment_scene(png, verb=verb),
    "classify": lambda client, png, verb: client.classify(png, verb=verb),
    "embed_image": lambda client, png, verb: client.embed_image(png, verb=verb),
    "embed_text": lambda client, png, verb: client.embed_text("cat", verb=verb),
}


@pytest.mark.parametrize("own", NAMED)
def test_a_verb_is_called_by_the_deployments_name(
    triton: FakeTriton, client: Client, png: bytes, own: str
) -> None:
    triton.behave = under_their_own_name
    NAMED[own](client, png, f"{own}_of_mine")
    assert [call.model for call in triton.calls] == [f"{own}_of_mine"]


@pytest.mark.parametrize("name", ["", "a verb", "sam/1", "\udc80", 7])
def test_an_impossible_verb_name_is_refused(
    triton: FakeTriton, client: Client, png: bytes, name: Any
) -> None:
    with pytest.raises(InvalidInput, match="expected the name of a verb such as 'detect', got"):
        client.detect(png, "cat", verb=name)
    assert not triton.calls


def test_many_pictures_can_go_to_a_named_verb_too(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    triton.behave = under_their_own_name
    found = list(client.main_object_many([png] * 3, "cat", verb="main_object_of_mine"))
    assert all(outcome.unwrap().found for outcome in found)
    assert [call.model for call in triton.calls] == ["main_object_of_mine"] * 3
