"""What classify sends, how it reads the answer, and how it explains a refusal."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
import numpy as np
import pytest
from fovea_client import AsyncClient, Client, InvalidSetting, InvalidTensor, InvalidText
from fovea_client.classification import Question
from fovea_client.cli import app
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.client.fake_triton import OWN_CLASSES, FakeTriton, Refusal

UNEXPECTED = "[request id: <id_unknown>] unexpected inference input 'TEXT' for model 'classify'"
MISSING = (
    "[request id: <id_unknown>] expected 2 inputs but got 1 inputs for model 'classify'. Got "
    "input(s) ['IMAGE'], but missing required input(s) ['TEXT']. Please provide all required "
    "input(s)."
)
NO_TOP_K = "[request id: <id_unknown>] unexpected inference input 'TOP_K' for model 'classify'"
LABELS = ["St. Bernard", "cat", "a {} of braces"]


def refused(message: str) -> Refusal:
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, message)


def test_labels_come_back_as_they_were_asked_best_first(client: Client, png: bytes) -> None:
    seen = client.classify(png, LABELS)
    assert seen.labels == tuple(LABELS[::-1])
    assert seen.indices.tolist() == [2, 1, 0] and seen.indices.dtype == np.int32
    assert seen.scores.tolist() == pytest.approx([0.9, 0.5, 0.1])
    assert (seen.label, seen.score, len(seen)) == (LABELS[2], pytest.approx(0.9), 3)
    assert seen.to_dict() == {
        "labels": LABELS[::-1],
        "indices": [2, 1, 0],
        "scores": [0.9, 0.5, 0.1],
    }


def test_a_template_is_filled_for_the_server_and_answers_have_the_bare_labels(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    seen = client.classify(png, LABELS, template="This is a photo of {}.")
    asked = [f"This is a photo of {label}." for label in LABELS]
    assert triton.calls[0].labels() == asked
    assert set(triton.calls[0].inputs) == {"IMAGE", "TEXT"}
    assert seen.labels == tuple(LABELS[::-1])


def test_the_client_keeps_only_top_k_labels(triton: FakeTriton, client: Client, png: bytes) -> None:
    seen = client.classify(png, "cat. dog. van", top_k=2)
    assert (seen.labels, seen.indices.tolist(), len(seen.scores)) == (("van", "dog"), [2, 1], 2)
    assert set(triton.calls[0].inputs) == {"IMAGE", "TEXT"}


def test_without_labels_the_classes_come_from_the_server(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    assert client.classify(png).labels == OWN_CLASSES[:5][::-1]
    assert client.classify(png, top_k=2).labels == OWN_CLASSES[:2][::-1]
    first, second = (call.inputs for call in triton.calls)
    assert set(first) == {"IMAGE"}
    assert second["TOP_K"].tolist() == [[2]] and second["TOP_K"].dtype == np.int32


@pytest.mark.parametrize(
    ("message", "asked", "said"),
    [
        (UNEXPECTED, {"labels": LABELS}, "no phrases or labels: 'classify' has classes of its own"),
        (MISSING, {}, "expected phrases or labels: 'classify' has no classes of its own; got none"),
        (NO_TOP_K, {"top_k": 3}, "expected phrases or labels: 'classify' has no classes of its"),
    ],
)
def test_tritons_refusal_of_a_tensor_is_said_in_words_of_the_caller(
    triton: FakeTriton, client: Client, png: bytes, message: str, asked: Any, said: str
) -> None:
    triton.behave = lambda call: refused(message)
    with pytest.raises(InvalidText, match=said):
        client.classify(png, **asked)

    async def ask() -> None:
        async with AsyncClient(triton.url) as there:
            await there.classify(png, **asked)

    with pytest.raises(InvalidText, match=said):
        asyncio.run(ask())


def test_another_refusal_is_not_translated(triton: FakeTriton, client: Client, png: bytes) -> None:
    triton.behave = lambda call: refused("[invalid_text] label 1: expected words, got none")
    with pytest.raises(InvalidText, match="label 1"):
        client.classify(png, LABELS)
    triton.behave = lambda call: refused("unexpected shape for input 'IMAGE' for model 'classify'")
    with pytest.raises(InvalidTensor, match="IMAGE"):
        client.classify(png, LABELS)


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"labels": []}, InvalidText, "at least one label"),
        ({"labels": ["cat"], "template": "a photo"}, InvalidText, "a template with {} for"),
        ({"labels": ["cat"], "template": 7}, InvalidText, "a template with {} for .* got 7"),
        ({"template": "a {}"}, InvalidText, "expected labels for the template 'a {}'"),
        ({"top_k": 0}, InvalidSetting, "top_k: expected a whole number from 1, got 0"),
        ({"top_k": True}, InvalidSetting, "got True"),
        ({"top_k": 2.5}, InvalidSetting, "got 2.5"),
        ({"top_k": 2**31}, InvalidSetting, "got 2147483648"),
    ],
)
def test_invalid_questions_are_refused_before_the_network(
    triton: FakeTriton, client: Client, png: bytes, asked: Any, error: type, said: str
) -> None:
    with pytest.raises(error, match=said):
        client.classify(png, **asked)
    assert not triton.calls


PLAIN = st.text(st.characters(codec="utf-8", exclude_characters="{}"), max_size=5)


@given(
    labels=st.lists(
        st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip), min_size=1, max_size=4
    ),
    before=PLAIN,
    after=PLAIN,
)
def test_any_label_is_put_into_a_template_whole(labels, before: str, after: str) -> None:
    sent = Question.of(labels, f"{before}{{}}{after}", None).to_inputs(b"")
    assert sent["TEXT"] == tuple(f"{before}{label}{after}" for label in labels)


def invoked(triton: FakeTriton, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["classify", *arguments, "--url", triton.url])


def test_the_command_prints_a_table_or_json(triton: FakeTriton, png: bytes, tmp_path) -> None:
    for name in ("one.png", "two.png"):
        (tmp_path / name).write_bytes(png)
    one = str(tmp_path / "one.png")
    table = invoked(triton, one, "--label", "St. Bernard", "--label", "cat").output
    assert [line.split()[-2:] for line in table.splitlines() if line.strip()][-2:] == [
        ["cat", "0.900"],
        ["Bernard", "0.100"],
    ]
    several = invoked(triton, str(tmp_path), "--labels", "cat. dog").output
    assert "dog" in several and "cat" not in several
    found = invoked(triton, one, "--top-k", "1", "--json")
    assert json.loads(found.output)["labels"] == [OWN_CLASSES[0]]
    both = invoked(triton, one, "--labels", "cat", "--label", "dog")
    assert both.exit_code == 2 and "--labels or --label" in both.output
