"""Sounds, depth, heat and motion on a real Triton, through every client."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from fovea_client import AsyncClient, Client, InvalidAudio, InvalidTensor, LocalClient
from fovea_client.cli import app
from fovea_client.errors import to_invalid_input
from fovea_server.probe import Probe
from fovea_web.settings import Settings
from PIL import Image
from tritonclient.utils import InferenceServerException
from typer.testing import CliRunner

from demo.served import demo_server
from export.deployments import Export, run
from fovea import wav
from fovea.deployment_file import DeploymentFile
from fovea.mel import RATE
from fovea.members import Source
from fovea.verbs import MODALITIES, verbs_of
from tests.export.test_imagebind import FOLDER
from tests.recordings import GREY, MOTION, SOUNDS
from tests.web.conftest import asking

pytestmark = pytest.mark.server

VERBS = ("embed_text", *(f"embed_{name}" for name in MODALITIES))
RECORDED = {"audio": SOUNDS, "depth": GREY, "thermal": 1 - GREY, "imu": MOTION}


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    verbs = verbs_of({name: {"embeds": "bind"} for name in VERBS})
    deployment = DeploymentFile("senses", {"bind": Source(str(FOLDER), "imagebind")}, verbs)
    made = Export(deployment, tmp_path_factory.mktemp("senses"), max_batch=2)
    run(made)
    return made


@pytest.fixture(scope="module")
def bound(export):
    with demo_server(export.repository) as running:
        yield running


@pytest.fixture(scope="module")
def senses(bound):
    with Client(bound.grpc_url) as connected:
        yield connected


@pytest.fixture(scope="module")
def theirs():
    """The answers of upstream's own code, scaled to length 1."""
    answers = np.load(FOLDER / "reference.npz")
    lengths = {name: np.linalg.norm(answers[name], axis=1, keepdims=True) for name in MODALITIES}
    return {name: answers[name] / lengths[name] for name in MODALITIES}


@pytest.mark.parametrize("modality", MODALITIES)
def test_vectors_are_those_of_upstream(senses, theirs, modality):
    embed = getattr(senses, f"embed_{modality}")
    vectors = np.stack([embed(recorded) for recorded in RECORDED[modality]])
    assert np.allclose(vectors, theirs[modality], atol=1e-4)


def test_each_request_of_a_batch_gets_its_own_vector(bound, theirs):
    async def ask() -> list[np.ndarray]:
        async with AsyncClient(bound.grpc_url) as client:
            return await asyncio.gather(
                *map(client.embed_audio, SOUNDS), client.embed_imu(MOTION[0])
            )

    *heard, moved = asyncio.run(ask())
    assert np.allclose(heard, theirs["audio"], atol=1e-4)
    assert np.allclose(moved, theirs["imu"][0], atol=1e-4)


def test_this_process_answers_the_same(senses, export):
    with LocalClient(export.out) as local:
        for modality in MODALITIES:
            here, there = (
                getattr(client, f"embed_{modality}")(RECORDED[modality][0])
                for client in (local, senses)
            )
            assert np.allclose(here, there, atol=1e-5)


def test_labels_are_compared_with_a_sound_in_one_space(senses):
    sound, labels = senses.embed_audio(SOUNDS[0]), ("a dog", "rain")
    scores = np.stack([senses.embed_text(label) for label in labels]) @ sound
    assert (np.abs(scores) <= 1).all()
    assert abs(scores[0] - scores[1]) > 1e-4


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (wav.write(SOUNDS[1], 8000), InvalidAudio),
        (wav.write(SOUNDS[1][:100], RATE), InvalidAudio),
        (b"no sound", InvalidAudio),
    ],
)
def test_invalid_sounds_are_refused_by_the_step(senses, sent, error):
    with pytest.raises(error, match="expected"):
        senses.embed_audio(sent)


def test_numbers_that_are_not_finite_or_have_another_shape_are_refused(bound, senses):
    with pytest.raises(InvalidTensor):
        senses.embed_depth(GREY[0][:100])
    broken = MOTION[:1].copy()
    broken[0, 2, 5] = np.nan
    with triton.InferenceServerClient(bound.grpc_url) as connected:
        tensor = triton.InferInput("IMU", broken.shape, "FP32")
        tensor.set_data_from_numpy(broken)
        with pytest.raises(InferenceServerException) as caught:
            connected.infer("embed_imu", [tensor])
    refused = to_invalid_input(caught.value.message())
    assert isinstance(refused, InvalidTensor) and "IMU: expected finite" in str(refused)


def test_the_probe_sends_every_modality(bound, tmp_path):
    ports = {"http_port": bound.ports.http, "grpc_port": bound.ports.grpc}
    Probe(folder=tmp_path, proof_s=0.0, timeout_s=60.0, **ports).check("ready")


def png(grey: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.round(grey * 65535).astype(np.uint16)).save(file, "PNG")
    return file.getvalue()


def test_the_gateway_takes_files_base64_and_numbers(bound, theirs):
    sound = wav.write(SOUNDS[1], RATE)
    with asking(Settings(url=bound.grpc_url)) as web:
        answers = {
            "audio": web.post("/v1/embed-audio", files={"audio": ("a.wav", sound)}),
            "audio ": web.post("/v1/embed-audio", json={"audio": base64.b64encode(sound).decode()}),
            "depth": web.post("/v1/embed-depth", files={"depth": ("d.png", png(GREY[1]))}),
            "thermal": web.post("/v1/embed-thermal", json={"thermal": (1 - GREY[1]).tolist()}),
            "imu": web.post("/v1/embed-imu", json={"imu": MOTION[1].tolist()}),
        }
        for name, answer in answers.items():
            assert answer.status_code == 200, answer.text
            vector = np.array(answer.json()["embedding"])
            assert np.allclose(vector, theirs[name.strip()][1], atol=2e-4)
        refused = web.post("/v1/embed-audio", files={"audio": ("a.wav", b"none")})
        assert refused.status_code == 422 and refused.json()["type"] == "/problems/invalid-audio"
        assert web.post("/v1/embed-audio", json={}).status_code == 422
        paths = web.get("/openapi.json").json()["paths"]
        assert "/v1/embed-audio" in paths and "/v1/embed-image" not in paths
        for name in MODALITIES:
            body = paths[f"/v1/embed-{name}"]["post"]["requestBody"]["content"]["application/json"]
            assert web.post(f"/v1/embed-{name}", json=body["example"]).status_code == 200


def test_the_command_reads_files(bound, theirs, tmp_path):
    files: dict[str, Path] = {name: tmp_path / name for name in MODALITIES}
    files["audio"].write_bytes(wav.write(SOUNDS[1], RATE))
    files["depth"].write_bytes(png(GREY[1]))
    files["thermal"].write_bytes(png(1 - GREY[1]))
    with files["imu"].open("wb") as file:
        np.save(file, MOTION[1])
    for name, path in files.items():
        asked = ["embed", f"--{name}", str(path), "--json", "--url", bound.grpc_url]
        done = CliRunner().invoke(app, asked)
        assert done.exit_code == 0, done.output
        record = json.loads(done.stdout)
        assert record["source"] == str(path)
        assert np.allclose(record["embedding"], theirs[name][1], atol=2e-4)
