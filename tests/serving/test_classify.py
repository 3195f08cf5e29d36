"""classify on the real Triton: an embedder with the caller's labels, and a classifier."""

from __future__ import annotations

import pytest
import tritonclient.grpc as triton
from fovea_client import Client, InvalidSetting, InvalidText, LocalClient
from fovea_server import EmbeddedServer
from fovea_server.probe import Probe
from tritonclient.utils import InferenceServerException

from demo import swap_alone
from demo.samples import FOLDER
from demo.served import EXPORTS, demo_server, export_demo
from demo.things import LABELS
from tests.serving import requests

pytestmark = pytest.mark.server

DEPLOYMENT = "demo-classify"
CARS = FOLDER / "scene-03.jpg"
SCENES = 30
ASKED = ["dog", "car", "St. Bernard", "Car"]


@pytest.fixture(scope="module")
def closed():
    """A server of a classifier, and of an embedder under another name."""
    with demo_server(export_demo(DEPLOYMENT)) as running:
        yield running


@pytest.fixture(scope="module")
def asks(closed: EmbeddedServer):
    with Client(closed.grpc_url) as connected:
        yield connected


def test_an_embedder_ranks_labels_as_main_object_does(client: Client):
    seen = client.classify(CARS, ASKED)
    assert seen.labels[:2] == ("car", "Car") and seen.indices[:2].tolist() == [1, 3]
    scores = client.main_object(CARS, ASKED).label_scores
    assert dict(zip(seen.labels, seen.scores, strict=True)) == pytest.approx(scores, abs=1e-4)


def test_a_template_changes_the_text_and_not_the_label(client: Client):
    plain, filled = client.classify(CARS, ASKED), client.classify(CARS, ASKED, template="a {}")
    assert {*plain.labels} == {*filled.labels} == {*ASKED}
    assert sorted(plain.scores) != pytest.approx(sorted(filled.scores), abs=1e-4)


def test_an_embedder_needs_labels(client: Client):
    said = "expected phrases or labels: 'classify' has no classes of its own; got none"
    for more in ({}, {"top_k": 3}):
        with pytest.raises(InvalidText, match=said):
            client.classify(CARS, **more)


def test_a_classifier_answers_with_its_own_classes(asks: Client):
    seen = asks.classify(CARS)
    assert len(seen) == 5
    assert [LABELS[place] for place in seen.indices] == list(seen.labels)
    assert asks.classify(CARS, top_k=36).scores.sum() == pytest.approx(1, abs=1e-4)
    with LocalClient(EXPORTS / DEPLOYMENT) as local:
        here = local.classify(CARS)
    assert here.labels == seen.labels
    assert here.scores == pytest.approx(seen.scores, abs=1e-4)


def test_its_classes_are_listed_with_the_served_models(asks: Client):
    [classifier] = asks.describe("classify").members.values()
    assert classifier.role == "classifier"
    assert classifier.class_names == tuple(LABELS)


def test_a_classifier_names_the_only_thing_of_a_scene_as_its_reference_does(asks: Client):
    row = swap_alone.names(asks, SCENES)
    assert row.is_same and row.truth >= 0.9, row


def test_a_classifier_takes_no_labels(asks: Client):
    with pytest.raises(InvalidText, match="no phrases or labels: 'classify' has classes"):
        asks.classify(CARS, ASKED)
    assert {*asks.classify(CARS, ASKED, verb="classify_labels").labels} == {*ASKED}


def test_a_top_k_below_1_is_refused_by_the_first_step(closed: EmbeddedServer):
    with triton.InferenceServerClient(closed.grpc_url) as connected:
        wrong = [requests.image(CARS.read_bytes()), requests.ints("TOP_K", [0])]
        with pytest.raises(InferenceServerException) as caught:
            connected.infer("classify", wrong)
    error = InvalidSetting.from_message(caught.value.message())
    assert isinstance(error, InvalidSetting)


def test_the_probe_asks_without_what_is_optional(closed: EmbeddedServer, tmp_path):
    ports = {"http_port": closed.ports.http, "grpc_port": closed.ports.grpc}
    Probe(folder=tmp_path, proof_s=0.0, timeout_s=60.0, **ports).check("ready")
