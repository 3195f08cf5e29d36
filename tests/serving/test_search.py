"""Object search through the real server: the demo's pictures, indexed once and searched."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fovea_client import Client, LocalClient
from fovea_client.cli import app
from fovea_search import Find, Index, Job, Servers, sources
from fovea_search.servers import open_store
from typer.testing import CliRunner

from demo.samples import FOLDER as SAMPLES
from demo.served import EXPORT_FOLDER
from fovea.boxes import pairwise_iou

pytestmark = pytest.mark.server

VERB = "embed_objects"
SETTINGS = {"points_per_side": 8}


@pytest.fixture(scope="module")
def index(client: Client, tmp_path_factory) -> Index:
    """The dozen samples and a file that is not a picture."""
    bad = tmp_path_factory.mktemp("bad") / "bad.jpg"
    bad.write_bytes(b"hello, this is no picture")
    store = open_store(str(tmp_path_factory.mktemp("store")), [client], VERB, SETTINGS)
    found = sources.find([str(SAMPLES), str(bad)], lambda *problem: pytest.fail(str(problem)))
    summary = Job(store, Servers([client], VERB, SETTINGS)).run(found)
    assert (summary.indexed, summary.failed) == (13, 1)
    return Index(store, client)


def is_right(find: Find, label: str, samples: list[tuple[Path, dict]]) -> bool:
    """Whether a find shows a true thing of this label."""
    truth = next(truth for path, truth in samples if path.name == Path(find.path).name)
    boxes = [thing["box_xyxy"] for thing in truth["objects"] if thing["label"] == label]
    if not boxes:
        return False
    return bool(pairwise_iou(find.box[None], np.array(boxes, np.float32)).max() > 0.5)


def test_words_find_the_named_things(index: Index, samples) -> None:
    labels = sorted({truth["label"] for _, truth in samples})
    right = [is_right(index.search(text=label, k=1)[0], label, samples) for label in labels]
    assert np.mean(right) >= 0.8


def test_a_box_in_a_picture_finds_that_thing_and_its_like(index: Index, samples) -> None:
    path, truth = samples[1]
    thing = truth["objects"][truth["main_index"]]
    finds = index.search(image=path, box=thing["box_xyxy"], k=3)
    assert is_right(finds[0], thing["label"], samples)
    assert finds[0].score == pytest.approx(1, abs=1e-3)


def test_the_reason_of_a_failure_is_the_servers(index: Index) -> None:
    failed = [known for known in index.store.known() if known.error]
    assert len(failed) == 1 and failed[0].error.startswith("InvalidImage: ")


def test_an_export_in_this_process_belongs_to_the_store_of_its_server(index: Index) -> None:
    with LocalClient(EXPORT_FOLDER) as local:
        here = Index(index.store, local).search(text="cow", k=3)
    there = index.search(text="cow", k=3)
    assert [find.id for find in here] == [find.id for find in there]


def test_the_embedder_is_told_by_its_fingerprint_and_by_no_other(client: Client) -> None:
    described = client.describe(VERB)
    assert (described.verb, described.members["embeds"].name) == (VERB, "clip")
    assert described.fingerprints["embeds"] == client.describe("embed_text").fingerprints["embeds"]
    assert described.fingerprints["embeds"] != described.fingerprints["cuts"]


def test_the_commands(url: str, tmp_path) -> None:
    def run(*words: str) -> dict:
        result = CliRunner().invoke(app, [*words, "--url", url, "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    picture, store = str(SAMPLES / "scene-03.jpg"), str(tmp_path / "store")
    assert run("index", picture, "--store", store, "--points-per-side", "8")["objects"] > 0
    assert run("index", picture, "--store", store)["unchanged"] == 1
    assert len(run("search", "car", "--store", store, "-k", "1")["finds"]) == 1
