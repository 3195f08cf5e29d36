"""One real Triton with the demo's checkpoints for all serving tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tritonclient.grpc as triton
from fovea_client import Client
from fovea_server import EmbeddedServer

from demo.evaluate import make_trial
from demo.samples import FOLDER as SAMPLES
from demo.served import demo_server


@pytest.fixture(scope="session")
def server():
    with demo_server() as running:
        yield running


@pytest.fixture(scope="session")
def url(server: EmbeddedServer) -> str:
    return server.grpc_url


@pytest.fixture(scope="session")
def client(url: str):
    with Client(url) as connected:
        yield connected


@pytest.fixture(scope="session")
def triton_client(url: str):
    """Triton's own client, for tensors that fovea's would never send."""
    with triton.InferenceServerClient(url) as connected:
        yield connected


@pytest.fixture(scope="session")
def samples() -> list[tuple[Path, dict]]:
    """The committed sample pictures with their truth."""
    truths = json.loads((SAMPLES / "truth.json").read_text())
    return [(SAMPLES / truth["file"], truth) for truth in truths]


@pytest.fixture(scope="session")
def trials():
    """60 held-out scenes with the questions about them."""
    return [make_trial(seed) for seed in range(60)]
