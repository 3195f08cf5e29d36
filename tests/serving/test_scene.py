"""Segmenters of scenes behind the real Triton, each task under its own name."""

from __future__ import annotations

import numpy as np
import pytest
import tritonclient.grpc as triton
from fovea_client import Client, InvalidThreshold, LocalClient
from fovea_client.errors import to_invalid_input
from fovea_server.probe import Probe
from tritonclient.utils import InferenceServerException

from demo.served import demo_server
from export.deployments import Export, run
from export.family_checkpoints import requests as members
from fovea.deployment_file import DeploymentFile
from fovea.members import Source
from fovea.verbs import verbs_of
from tests.serving import requests

pytestmark = pytest.mark.server

VERBS = {
    "segment_scene": {"segments": "segformer"},
    "panoptic": {"verb": "segment_scene", "segments": "mask2former"},
}
# Below the scores of random weights, but not of all their segments.
THRESHOLD = 0.3


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    sources = {
        family: Source(str(members(family)[family].checkpoint.folder), options=options)
        for family, options in {
            "segformer": (),
            "mask2former": (("overlap_mask_area_threshold", 0.2), ("task", "panoptic")),
        }.items()
    }
    deployment = DeploymentFile("scenes", sources, verbs_of(VERBS))
    made = Export(deployment, tmp_path_factory.mktemp("scenes"), max_batch=2)
    run(made)
    return made


@pytest.fixture(scope="module")
def scene_server(export):
    with demo_server(export.repository) as running:
        yield running


@pytest.fixture(scope="module")
def scenes(scene_server):
    with Client(scene_server.grpc_url) as connected:
        yield connected


@pytest.mark.parametrize("verb", VERBS)
def test_a_scene_has_the_segments_of_this_process(scenes, export, samples, verb):
    picture, _ = samples[0]
    there = scenes.segment_scene(picture, threshold=THRESHOLD, label_map=True, verb=verb)
    with LocalClient(export.out) as local:
        here = local.segment_scene(picture, threshold=THRESHOLD, label_map=True, verb=verb)
    assert len(there) > 1
    assert there.labels == here.labels and there.size_hw == here.size_hw
    assert np.array_equal(there.label_indices, here.label_indices)
    assert there.scores == pytest.approx(here.scores, abs=1e-3)
    assert there.label_map.shape == there.size_hw
    assert (there.label_map == here.label_map).mean() > 0.999
    marks = there.label_indices if verb == "segment_scene" else range(1, len(there) + 1)
    for mask, mark in zip(there.masks, marks, strict=True):
        assert np.array_equal(mask.to_numpy(), there.label_map == mark)


def test_no_label_map_comes_unless_it_is_asked_for(scenes, samples):
    assert scenes.segment_scene(samples[0][0]).label_map is None


def test_an_answer_may_have_no_segment(scenes, samples):
    found = scenes.segment_scene(samples[0][0], threshold=1.0, label_map=True, verb="panoptic")
    assert len(found) == 0 and not found.label_map.any()


def test_a_threshold_beyond_1_is_refused_by_the_first_step(scene_server, samples):
    data = samples[0][0].read_bytes()
    with triton.InferenceServerClient(scene_server.grpc_url) as connected:
        wrong = [requests.image(data), requests.floats("THRESHOLD", [1.5])]
        with pytest.raises(InferenceServerException) as caught:
            connected.infer("segment_scene", wrong)
    assert isinstance(to_invalid_input(caught.value.message()), InvalidThreshold)


def test_the_probe_asks_for_scenes(scene_server, tmp_path):
    ports = {"http_port": scene_server.ports.http, "grpc_port": scene_server.ports.grpc}
    Probe(folder=tmp_path, proof_s=0.0, timeout_s=60.0, **ports).check("ready")
