"""After new weights are loaded, no answer has anything of the old ones."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from fovea_client import Client, FoveaError
from onnx import numpy_helper

from demo.served import demo_server, export_demo
from export.assembly import take_place
from export.checksums import write_checksums
from export.onnx_files import sha256
from export.repository import onnx_path, write_repository
from fovea.manifest import exported_deployment

pytestmark = pytest.mark.server

LABELS = ["cat", "dog", "van", "man", "snowboarder"]
POINT = (50, 60)
NETWORKS = {"clip": "clip_text_encoder", "sam": "sam_image_encoder"}


def change_weights(repository: Path) -> None:
    """Act like an export of other checkpoints: assemble aside, replace atomically."""
    draft = repository.with_name("draft")
    shutil.copytree(repository, draft)
    for network in NETWORKS.values():
        path = onnx_path(draft, network)
        model = onnx.load(str(path))
        weight = max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
        values = numpy_helper.to_array(weight)
        noise = np.random.default_rng(0).normal(scale=values.std(), size=values.shape)
        changed = numpy_helper.from_array((values + noise).astype(values.dtype), weight.name)
        weight.CopyFrom(changed)
        onnx.save(model, str(path))
    write_configs(draft)
    write_checksums(draft, [folder.name for folder in draft.iterdir() if folder.is_dir()])
    take_place(draft, repository)


def write_configs(repository: Path) -> None:
    deployment = exported_deployment(export_demo().parent)
    members = tuple(
        replace(member, fingerprint=sha256(onnx_path(repository, NETWORKS[member.name])))
        if member.name in NETWORKS
        else member
        for member in deployment.members
    )
    write_repository(repository, replace(deployment, members=members))


def answers(client: Client, picture: Path) -> list[np.ndarray]:
    """Answers that depend on the caches of labels and of SAM's embeddings."""
    ranked = client.main_object(picture, LABELS)
    scores = np.array([ranked.label_scores[label] for label in LABELS])
    found = client.segment(picture, points=[POINT])
    return [scores, found.scores, found.masks[0].to_numpy()]


class Caller(threading.Thread):
    """Calls without a pause; notes failures."""

    def __init__(self, url: str, picture: Path) -> None:
        super().__init__()
        self._url, self._picture = url, picture
        self._stopped = threading.Event()
        self.answered, self.errors = 0, list[FoveaError]()

    def __enter__(self) -> Caller:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped.set()
        self.join()

    def run(self) -> None:
        with Client(self._url) as client:
            while not self._stopped.is_set():
                try:
                    answers(client, self._picture)
                    self.answered += 1
                except FoveaError as error:
                    self.errors.append(error)


def test_answers_after_new_weights_are_those_of_a_fresh_server(tmp_path, samples):
    repository = tmp_path / "model_repository"
    shutil.copytree(export_demo(), repository)
    picture = samples[0][0]
    with demo_server(repository) as server, Client(server.grpc_url) as client:
        former = answers(client, picture)
        change_weights(repository)
        with Caller(server.grpc_url, picture) as asking:
            server.load_changes()
        assert asking.answered and not asking.errors
        loaded = answers(client, picture)
    with demo_server(repository) as server, Client(server.grpc_url) as client:
        fresh = answers(client, picture)
    for before, after, expected in zip(former, loaded, fresh, strict=True):
        assert not np.allclose(before, expected, atol=1e-3)
        np.testing.assert_allclose(after, expected, atol=1e-5)
