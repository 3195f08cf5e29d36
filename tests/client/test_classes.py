"""A detector with its own classes is called without phrases; an open one, with them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import numpy as np
import pytest
from fovea_client import AsyncClient, Client, InvalidInput, InvalidTensor, InvalidText
from fovea_client.cli import app
from PIL import Image
from typer.testing import CliRunner

from tests.client.fake_triton import FakeTriton, Refusal, detections, masks

# Triton 2.51's own words.
UNWANTED = "unexpected inference input 'TEXT' for model 'detect'"
TOO_MANY = (
    "[request id: <id_unknown>] expected number of inputs between 1 and 2 but got 3 inputs for "
    "model 'detect'. Got input(s) ['BOX_THRESHOLD','TEXT','IMAGE'], but missing required input(s) "
    "]. Please provide all required input(s)."
)
MISSING = (
    "[request id: <id_unknown>] expected number of inputs between 2 and 4 but got 1 inputs for "
    "model 'detect'. Got input(s) ['IMAGE'], but missing required input(s) ['TEXT']. Please "
    "provide all required input(s)."
)


def knows_classes(call):
    """The server's answer for a detector with its own classes."""
    found = detections("traffic light", "cat")
    found["LABEL_INDICES"] = np.array([9, 15], np.int32)
    return found | masks(2) if call.model == "detect_and_segment" else found


@pytest.fixture
def closed(triton: FakeTriton) -> FakeTriton:
    triton.behave = knows_classes
    return triton


@pytest.mark.parametrize("verb", ["detect", "detect_and_segment"])
def test_boxes_have_the_names_and_ids_that_the_server_gives(
    closed: FakeTriton, client: Client, png: bytes, verb: str
) -> None:
    found = getattr(client, verb)(png, box_threshold=0.25)
    assert closed.calls[0].model == verb
    assert set(closed.calls[0].inputs) == {"IMAGE", "BOX_THRESHOLD"}
    assert found.phrases == ("traffic light", "cat")
    assert found.class_ids.tolist() == [9, 15]
    [first, _] = found.to_coco_json()
    assert (first["category_id"], first["category_name"]) == (9, "traffic light")


def test_the_client_for_asyncio_asks_without_phrases_too(closed: FakeTriton, png: bytes) -> None:
    async def ask():
        async with AsyncClient(closed.url) as client:
            return await client.detect(png), await client.detect_and_segment(png)

    boxes, cut = asyncio.run(ask())
    assert boxes.phrases == cut.phrases == ("traffic light", "cat")
    assert len(cut.masks) == 2


@pytest.mark.parametrize(
    ("message", "phrases", "said"),
    [
        (UNWANTED, ["cat"], "no phrases or labels: 'detect' has classes of its own; got some"),
        (TOO_MANY, ["cat"], "no phrases or labels: 'detect' has classes of its own; got some"),
        (MISSING, None, "phrases or labels: 'detect' has no classes of its own; got none"),
    ],
)
def test_confusing_the_detectors_is_explained_in_words(
    triton: FakeTriton, client: Client, png: bytes, message, phrases, said
) -> None:
    triton.behave = lambda call: Refusal(grpc.StatusCode.INVALID_ARGUMENT, message)
    with pytest.raises(InvalidText, match=said):
        client.detect(png, phrases)


def test_another_tensor_that_is_missing_is_not_about_phrases(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    other = (
        "[request id: <id_unknown>] expected number of inputs between 2 and 4 but got 1 inputs "
        "for model 'detect'. Got input(s) ['TEXT'], but missing required input(s) ['IMAGE']."
    )
    triton.behave = lambda call: Refusal(grpc.StatusCode.INVALID_ARGUMENT, other)
    with pytest.raises(InvalidTensor):
        client.detect(png, ["cat"])


def test_a_threshold_of_words_needs_words(client: Client, png: bytes) -> None:
    with pytest.raises(InvalidInput, match="expected phrases with text_threshold, got none"):
        client.detect(png, text_threshold=0.3)


def test_the_command_needs_no_text(closed: FakeTriton, png: bytes, tmp_path: Path) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    photo.write_bytes(png)
    where = ["--url", closed.url]
    shown = CliRunner().invoke(app, ["detect", str(photo), "--out", str(out), *where])
    assert shown.exit_code == 0 and "traffic light" in shown.stdout
    assert Image.open(out).tobytes() != Image.open(photo).tobytes()
    assert "TEXT" not in closed.calls[0].inputs
    cut = CliRunner().invoke(app, ["detect-and-segment", str(photo), "--json", *where])
    assert '"phrases": ["traffic light", "cat"]' in cut.stdout


@pytest.mark.parametrize("options", [["--text", ""], ["--text", "cat", "--label", "dog"]])
def test_the_command_takes_text_or_labels_or_neither(
    closed: FakeTriton, png: bytes, tmp_path: Path, options: list[str]
) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(png)
    wrong = CliRunner().invoke(app, ["detect", str(photo), "--url", closed.url, *options])
    assert wrong.exit_code == 2 and not closed.calls
