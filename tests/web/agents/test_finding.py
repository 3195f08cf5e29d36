"""The tool `search` on a small index of the demo's pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from fovea_client import Client
from fovea_search import Job, Servers, sources
from fovea_search.servers import open_store
from PIL import Image

from demo.samples import FOLDER as SAMPLES
from tests.web.agents.conftest import Agent, over_stdio

pytestmark = pytest.mark.server

VERB, SETTINGS = "embed_objects", {"points_per_side": 6}
NAMES = ("scene-03.jpg", "scene-04.jpg", "scene-09.jpg")


@pytest.fixture(scope="module")
def store(client: Client, tmp_path_factory) -> str:
    where = str(tmp_path_factory.mktemp("agents") / "store")
    opened = open_store(where, [client], VERB, SETTINGS)
    found = sources.find([str(SAMPLES / name) for name in NAMES], pytest.fail)
    Job(opened, Servers([client], VERB, SETTINGS)).run(found)
    return where


@pytest.fixture(scope="module")
def agent(url: str, store: str) -> Iterator[Agent]:
    with over_stdio("--url", url, "--store", store, "--folder", str(SAMPLES)) as opened:
        yield opened


def test_words_find_the_named_things(agent: Agent) -> None:
    finds = agent.record("search", text="car", k=2)["finds"]
    assert Path(finds[0]["path"]).name == "scene-03.jpg"
    assert len(finds) == 2 and finds[0]["score"] >= finds[1]["score"]
    assert set(finds[0]) == {"id", "score", "path", "box", "area"}


def test_a_find_or_a_box_in_a_picture_is_an_example(agent: Agent) -> None:
    first = agent.record("search", text="pizza", k=1)["finds"][0]
    again = agent.record("search", like=first["id"], k=1)["finds"][0]
    boxed = agent.record("search", path="scene-09.jpg", box=first["box"], k=1)["finds"][0]
    assert again["id"] == first["id"] == boxed["id"]


def test_conditions_and_pictures(agent: Agent) -> None:
    finds = agent.record("search", text="bus", kind="picture", where="path LIKE '%04.jpg'")["finds"]
    assert [Path(find["path"]).name for find in finds] == ["scene-04.jpg"]
    assert "box" not in finds[0]


def test_a_sheet_of_finds_comes_on_request(agent: Agent) -> None:
    result = agent.call("search", text="bus", annotated=True, k=3)
    sheet = Image.open(io.BytesIO(base64.b64decode(result.content[1].data)))
    assert max(sheet.size) <= 1024


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "InvalidInput: expected a text, an image or a find"),
        ({"text": "car", "where": "colour = 1"}, "InvalidFilter: "),
        ({"text": "car", "k": 0}, "k: Input should be greater than or equal to 1"),
        ({"text": "car", "kind": "film"}, "kind: Input should be 'object' or 'picture'"),
        ({"path": "../art.py", "text": "car"}, "InvalidImage: expected a picture file below"),
    ],
)
def test_invalid_searches_are_refused_in_words(agent: Agent, arguments: dict, words: str) -> None:
    assert words in agent.refusal("search", **arguments)
