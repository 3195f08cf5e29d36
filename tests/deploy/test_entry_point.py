"""The flags of the image's entry point, on the real server."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.deploy.test_containers import entry_point
from tests.server import graphs
from tests.server.requests import infer

pytestmark = pytest.mark.server

X = np.ones((1, 4), np.float32)
# Not loopback's usual address, so that services on 127.0.0.1 can be told apart.
HERE = ["--host=127.0.0.2", "--grpc-port=0", "--http-port=0", "--metrics-port=0", "--json"]


@pytest.fixture(scope="module")
def container(tmp_path_factory):
    """The process, and its report of where it listens."""
    repository = tmp_path_factory.mktemp("repository")
    graphs.add_linear(repository, "linear")
    entry, _ = entry_point("server.Dockerfile")
    # Everything except NVIDIA's own entry point and Python's name.
    command = [sys.executable, *entry[2:], *HERE, str(repository)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process, json.loads(process.stdout.readline())
    process.kill()
    process.communicate()


def test_models_answer_and_http_and_metrics_are_where_they_belong(container):
    _, where = container
    assert where["grpc"].startswith("127.0.0.2:")
    assert where["http"].startswith("127.0.0.1:")
    assert where["metrics"].startswith("http://127.0.0.2:")
    assert infer(where["grpc"], "linear", {"x": X})["z"].tolist() == [[-1.0] * 4]


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.get_inference_statistics(),
        lambda client: client.get_model_config("linear"),
        lambda client: client.get_model_repository_index(),
        lambda client: client.get_system_shared_memory_status(),
        lambda client: client.get_trace_settings(),
        lambda client: client.get_log_settings(),
        lambda client: client.unload_model("linear"),
    ],
)
def test_everything_but_health_metadata_and_inference_is_closed(container, ask):
    with (
        triton.InferenceServerClient(container[1]["grpc"]) as client,
        pytest.raises(InferenceServerException, match=r"UNAVAILABLE|restricted"),
    ):
        ask(client)


def test_the_same_holds_over_http(container):
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"http://{container[1]['http']}/v2/models/linear/config")


def test_sigterm_ends_it_in_good_order_and_the_log_was_on_stderr(container):
    process, _ = container
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=100)
    assert process.returncode == 0
    assert "Started GRPCInferenceService" in log
