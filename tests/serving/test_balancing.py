"""One long-lived client and two real servers: both work, and one that dies fails no request."""

import shutil

import psutil
import pytest
from fovea_client import Client
from fovea_client.statistics import read_statistics
from fovea_server import EmbeddedServer

from demo.served import demo_server, export_demo

pytestmark = pytest.mark.server

VERB = "embed_text"
# The models of that verb; two servers with all models would take minutes to start on a busy
# machine.
MODELS = (VERB, "clip_tokenize_text", "clip_text_encoder")
TEXT = "a cat"


@pytest.fixture
def pair(tmp_path):
    for model in MODELS:
        shutil.copytree(export_demo() / model, tmp_path / model)
    alone = {"exit_timeout_s": 2, "restart_dead_backends": False}
    with demo_server(tmp_path, **alone) as first, demo_server(tmp_path, **alone) as second:
        yield first, second


def answered(server: EmbeddedServer) -> int:
    return read_statistics(server.grpc_url)[VERB].inferences


def test_requests_take_turns_and_the_other_server_takes_all_when_one_dies(pair):
    first, second = pair
    target = f"ipv4:{first.grpc_url},{second.grpc_url}"
    with Client(target, timeout_s=60) as client:
        expected = client.embed_text(TEXT)
        # A server counts once its connection is up, whichever is first.
        while not (answered(first) and answered(second)):
            client.embed_text(TEXT)
        before = answered(first), answered(second)
        for _ in range(40):
            assert client.embed_text(TEXT) == pytest.approx(expected, abs=1e-5)
        shares = answered(first) - before[0], answered(second) - before[1]
        print(f"\none client, 40 requests, two servers: {shares[0]} and {shares[1]}")
        assert sum(shares) == 40 and min(shares) >= 15
        psutil.Process(first.pid).kill()
        left = answered(second)
        for _ in range(20):
            assert client.embed_text(TEXT) == pytest.approx(expected, abs=1e-5)
        assert answered(second) - left == 20
