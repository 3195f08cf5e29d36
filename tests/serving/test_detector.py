"""A detector with its own classes, behind the real Triton and with the demo's SAM."""

from __future__ import annotations

import numpy as np
import pytest
from fovea_client import Client, InvalidText, LocalClient
from fovea_server.probe import Probe

from demo.served import demo_server
from export.deployments import Export, read_deployment, run
from export.family_checkpoints import TRAINED, requests
from export.stand_ins.rt_detr import TINY_NAMES

pytestmark = pytest.mark.server

DEPLOYMENT = """
[members]
rt_detr = "{rt_detr}"
sam     = "{sam}"

[verbs]
detect             = {{ detects = "rt_detr" }}
detect_and_segment = {{ detects = "rt_detr", cuts = "sam" }}
"""
# Below the scores of random weights, but not of all their boxes.
THRESHOLD = 0.45


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    folder = tmp_path_factory.mktemp("closed")
    tiny = requests("rt_detr")["rt_detr"].checkpoint.folder
    file = folder / "closed.toml"
    file.write_text(DEPLOYMENT.format(rt_detr=tiny.resolve(), sam=(TRAINED / "sam").resolve()))
    made = Export(read_deployment(str(file)), folder / "closed")
    run(made)
    return made


@pytest.fixture(scope="module")
def closed_server(export):
    with demo_server(export.repository) as running:
        yield running


@pytest.fixture(scope="module")
def closed(closed_server):
    with Client(closed_server.grpc_url) as connected:
        yield connected


def test_boxes_have_classes_and_masks_as_in_this_process(closed, export, samples):
    picture, _ = samples[0]
    boxes = closed.detect(picture, box_threshold=THRESHOLD)
    cut = closed.detect_and_segment(picture, box_threshold=THRESHOLD)
    assert 0 < len(boxes) == len(cut) == len(cut.masks)
    assert boxes.phrases == tuple(TINY_NAMES[index] for index in boxes.label_indices)
    assert all(mask.size_hw == cut.size_hw for mask in cut.masks)
    with LocalClient(export.out) as local:
        here = local.detect_and_segment(picture, box_threshold=THRESHOLD)
    assert here.phrases == cut.phrases == boxes.phrases
    assert np.allclose(here.boxes, cut.boxes, atol=0.05)
    assert np.allclose(cut.boxes, boxes.boxes, atol=0.05)
    assert [mask.area for mask in here.masks] == pytest.approx(
        [mask.area for mask in cut.masks], rel=0.02, abs=20
    )


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_phrases_are_refused_in_words(closed, export, samples, threshold):
    picture, _ = samples[0]
    with LocalClient(export.out) as local:
        for client in (closed, local):
            for verb in (client.detect, client.detect_and_segment):
                with pytest.raises(InvalidText, match=r"expected no phrases.*'detect"):
                    verb(picture, ["cat"], box_threshold=threshold)


def test_an_open_detector_wants_phrases(client, samples):
    picture, _ = samples[0]
    with pytest.raises(InvalidText, match=r"expected phrases.*'detect'"):
        client.detect(picture)


def test_the_probe_can_ask_it(closed_server, tmp_path):
    ports = {"http_port": closed_server.ports.http, "grpc_port": closed_server.ports.grpc}
    Probe(folder=tmp_path / "probe", timeout_s=60, proof_s=0, **ports).check("ready")
