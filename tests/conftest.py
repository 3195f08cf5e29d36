"""How the tests share a machine, and one real Triton with the demo's checkpoints.

The machine's load decides how long an example takes, so none is timed. PyTorch's threads spin while
they wait, which slows everything else on the cores: one is enough. Tests interrupt processes that
they start, which would inherit that a background job ignores it.
"""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fovea_client import Client
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def server():
    """A `fovea_server.EmbeddedServer` that no test may harm."""
    from demo.served import demo_server  # it loads Triton and torch, which few tests need

    with demo_server() as running:
        yield running


@pytest.fixture(scope="session")
def url(server) -> str:
    return server.grpc_url


@pytest.fixture(scope="session")
def client(url: str) -> Iterator[Client]:
    with Client(url) as connected:
        yield connected


@pytest.fixture(scope="session")
def samples() -> list[tuple[Path, dict]]:
    """The committed sample pictures with their truth."""
    from demo.samples import FOLDER

    truths = json.loads((FOLDER / "truth.json").read_text())
    return [(FOLDER / truth["file"], truth) for truth in truths]
