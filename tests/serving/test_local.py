"""A deployment in the caller's process answers like the server of the same export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fovea_client import Client, FoveaError, InvalidTensor, LocalClient, Mask
from fovea_client.cli import app
from fovea_client.requests import Request
from typer.testing import CliRunner

from demo.served import EXPORT_FOLDER

pytestmark = pytest.mark.server

LABELS = ["car", "St. Bernard", "man", "snowboard", "cow"]
CENTRE = {"points": [(200, 200)]}
VERBS = {
    "main_object": lambda client, picture: client.main_object(picture, LABELS),
    "main_object of a description": lambda client, picture: client.main_object(
        picture, description="A man with a snowboard. A car!"
    ),
    "detect": lambda client, picture: client.detect(picture, LABELS, box_threshold=0.1),
    "detect_and_segment": lambda client, picture: client.detect_and_segment(picture, LABELS),
    "segment": lambda client, picture: client.segment(picture, boxes=[(80, 80, 350, 300)]),
    "segment points": lambda client, picture: client.segment(picture, **CENTRE),
    "classify": lambda client, picture: client.classify(picture, LABELS, template="a {}"),
    "segment_everything": lambda client, picture: client.segment_everything(picture),
    "embed_objects": lambda client, picture: client.embed_objects(picture, points_per_side=8),
    "embed_image": lambda client, picture: client.embed_image(picture),
    "embed_text": lambda client, picture: client.embed_text(f"a picture of {len(picture)} bytes"),
}
COORDS = np.array([[[10, 10], [90, 90]]], np.float32)
CORNERS = np.array([[2, 3]], np.int32)


@pytest.fixture(scope="module")
def local(server):
    with LocalClient(EXPORT_FOLDER) as opened:
        yield opened


@pytest.fixture(scope="module", params=[0, -1])
def picture(request, samples) -> bytes:
    return samples[request.param][0].read_bytes()


def check_same(here: Any, there: Any) -> None:
    """Results of either client: numbers within 1e-3, and the rest, masks too, exactly."""
    assert type(here) is type(there)
    if isinstance(there, np.ndarray):
        assert here.dtype == there.dtype
        np.testing.assert_allclose(here, there, atol=1e-3)
    elif isinstance(there, float):
        assert here == pytest.approx(there, abs=1e-3)
    elif isinstance(there, dict):
        assert [*here] == [*there]
        check_same([*here.values()], [*there.values()])
    elif isinstance(there, (tuple, list)):
        assert len(here) == len(there)
        for one, other in zip(here, there, strict=True):
            check_same(one, other)
    elif isinstance(there, Mask):
        assert np.array_equal(here.to_numpy(), there.to_numpy())
    elif hasattr(there, "__dict__"):
        check_same(vars(here), vars(there))
    else:
        assert here == there


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_answers_as_the_server_does(verb, client: Client, local, picture) -> None:
    check_same(VERBS[verb](local, picture), VERBS[verb](client, picture))


# what is wrong -> the verb, and which of its tensors differ from `GOOD`
GOOD = {
    "detect": {"TEXT": ("cat",)},
    "main_object": {"TEXT": ("cat",)},
    "segment": {"POINT_COORDS": COORDS, "POINT_LABELS": CORNERS},
    "embed_objects": {},
}
REFUSED = {
    "no picture": ("detect", {"IMAGE": b"hello, this is no picture"}),
    "no bytes": ("main_object", {"IMAGE": b""}),
    "too many bytes": ("detect", {"IMAGE": b"\xff" * (33 * 1024 * 1024)}),
    "no label": ("detect", {"TEXT": ()}),
    "an empty label": ("main_object", {"TEXT": ("cat", " ")}),
    "a label that is not UTF-8": ("detect", {"TEXT": (b"\xff\xfe",)}),
    "too many labels": ("main_object", {"TEXT": tuple(f"thing {i}" for i in range(2049))}),
    "a caption that is too long": ("detect", {"TEXT": tuple(f"thing {i}" for i in range(300))}),
    "a threshold beyond 1": ("detect", {"BOX_THRESHOLD": 1.5}),
    "too many points": ("embed_objects", {"POINTS_PER_SIDE": np.array([65], np.int32)}),
    "too many objects": ("embed_objects", {"MAX_OBJECTS": np.array([257], np.int32)}),
    "a box outside": ("segment", {"POINT_COORDS": 100 * COORDS}),
    "a message that is cut": (
        "segment",
        {
            "POINT_COORDS": np.full((128, 16, 2), np.nan, np.float32),
            "POINT_LABELS": np.ones((128, 16), np.int32),
        },
    ),
}
MISFITS = {
    "a wrong shape": {"POINT_COORDS": np.zeros((1, 2, 3), np.float32)},
    "a wrong dtype": {"POINT_COORDS": np.zeros((1, 2, 2), np.int32)},
    "an axis too few": {"POINT_LABELS": np.array([2, 3], np.int32)},
    "an unknown tensor": {"MOOD": 1.0},
    "a missing tensor": {"POINT_LABELS": None},
}


def refusal(client: Client | LocalClient, verb: str, inputs: dict[str, Any]) -> FoveaError:
    def steps():
        yield Request(verb, {k: value for k, value in inputs.items() if value is not None})

    with pytest.raises(FoveaError) as caught:
        client._run(steps(), None)
    return caught.value


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_input_is_refused_in_the_servers_words(name, client: Client, local, samples):
    verb, wrong = REFUSED[name]
    inputs = {"IMAGE": samples[0][0].read_bytes(), **GOOD[verb], **wrong}
    here, there = refusal(local, verb, inputs), refusal(client, verb, inputs)
    assert (type(here), str(here)) == (type(there), str(there))


@pytest.mark.parametrize("name", MISFITS)
def test_a_tensor_that_triton_refuses_is_refused(name, client: Client, local, samples) -> None:
    inputs = {"IMAGE": samples[0][0].read_bytes(), **GOOD["segment"], **MISFITS[name]}
    here, there = refusal(local, "segment", inputs), refusal(client, "segment", inputs)
    assert type(here) is type(there) is InvalidTensor


@pytest.mark.parametrize(
    "options",
    [
        ["main-object", "--labels", "man. snowboard"],
        ["detect", "--text", "man. snowboard"],
        ["detect-and-segment", "--text", "man. snowboard"],
        ["segment", "--point", "200,200"],
        ["classify", "--labels", "man. snowboard. cow", "--top-k", "2"],
        ["segment-everything", "--points-per-side", "8"],
        ["embed-objects", "--max-objects", "2"],
        ["embed"],
    ],
    ids=lambda options: options[0],
)
def test_the_command_prints_the_same_json(options, url: str, local, samples) -> None:
    verb, *more = options
    pictures = [str(path) for path, _ in samples[:2]]

    def records(*where: str) -> list[dict]:
        result = CliRunner().invoke(app, [verb, *pictures, *more, "--json", *where])
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    here, there = records("--local", str(Path(EXPORT_FOLDER))), records("--url", url)
    assert len(there) == 2
    check_same(here, there)
