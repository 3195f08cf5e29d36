"""The probe on servers that are busy, hang, fail or are gone; tests/serving has the demo's."""

import contextlib
import itertools
import json
import os
import signal
import socket
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import typer
from fovea_server import EmbeddedServer, probe_requests
from fovea_server.probe import Probe, ProbeFailure, main
from fovea_server.stubs import stubs_of
from PIL import Image
from typer.testing import CliRunner

from . import probed
from .requests import infer

# Closed as in the image.
CLOSED = ("model-repository", "model-config", "statistics")
STUCK_AFTER_S = 2.0
QUICK, SLOW = "0.01", "0.6"


@pytest.fixture(scope="module")
def served(tmp_path_factory, options):
    """Starts a separate server: more options -> the server and the worker's orders."""
    with contextlib.ExitStack() as running:

        def start(**more):
            repository = tmp_path_factory.mktemp("probed")
            orders = tmp_path_factory.mktemp("orders") / "orders"
            orders.write_text(QUICK)
            probed.add_models(repository, orders)
            more = {"restart_dead_backends": False, "exit_timeout_s": 1} | more
            return running.enter_context(EmbeddedServer(options(repository, **more))), orders

        yield start


@pytest.fixture(scope="module")
def shared(served):
    return served()


@pytest.fixture(scope="module")
def without_metrics(served):
    return served(extra_args=("--allow-metrics=false",))


@pytest.fixture
def asking(tmp_path):
    """A probe without memory of other tests."""

    def make(server, **more):
        settings = {"timeout_s": 1.0, "proof_s": 0.0, "stuck_after_s": STUCK_AFTER_S}
        ports = {"http_port": server.ports.http, "grpc_port": server.ports.grpc}
        return Probe(folder=tmp_path / "probe", **{**ports, **settings, **more})

    return make


@contextlib.contextmanager
def ordered(orders, text):
    """Give the worker an order for a while."""
    orders.write_text(text)
    try:
        yield
    finally:
        orders.write_text(QUICK)


@contextlib.contextmanager
def callers(server, count):
    """Callers of the ensemble that the probe calls, each sending one request after another."""
    ended = threading.Event()

    def ask():
        while not ended.is_set():
            infer(server.grpc_url, "stranger", {"x": np.zeros((1, 4), np.float32)}, timeout_s=60)

    with ThreadPoolExecutor(count) as pool:
        asking = [pool.submit(ask) for _ in range(count)]
        try:
            yield
        finally:
            ended.set()
    for done in asking:
        done.result()


def executions(server, model):
    """A model's executions, on a server whose statistics are open."""
    url = f"http://{server.http_url}/v2/models/{model}/stats"
    return json.load(urllib.request.urlopen(url))["model_stats"][0]["execution_count"]


def probe_for(seconds, probe):
    """Probe repeatedly; returns how often, and raises its failure."""
    ends = time.monotonic() + seconds
    for count in itertools.count(1):
        probe.check("ready")
        if time.monotonic() > ends:
            return count


@pytest.mark.server
def test_ensembles_that_answered_recently_are_not_called_again(shared, asking):
    server, _ = shared
    asking(server).check("ready")
    before = executions(server, "worker")
    probe = asking(server, proof_s=600.0)
    for _ in range(3):
        probe.check("ready")
    assert executions(server, "worker") == before
    asking(server, proof_s=0.0).check("ready")
    assert executions(server, "worker") == before + 1


@pytest.mark.server
@pytest.mark.parametrize("kind", ["shared", "without_metrics"])
def test_a_queue_slower_than_the_probe_is_busy_for_as_long_as_it_moves(kind, asking, request):
    server, orders = request.getfixturevalue(kind)
    probe = asking(server)
    probe.check("ready")
    with ordered(orders, SLOW), callers(server, 6):
        assert probe_for(3 * STUCK_AFTER_S, probe) >= 4
        probe.check("live")


@pytest.mark.server
@pytest.mark.parametrize("kind", ["shared", "without_metrics"])
def test_a_model_that_does_nothing_while_requests_wait_is_broken_until_it_goes_on(
    kind, asking, request
):
    server, orders = request.getfixturevalue(kind)
    probe = asking(server, timeout_s=0.6)
    probe.check("ready")
    with ordered(orders, "hang"):
        probe.check("ready")
        with pytest.raises(
            ProbeFailure, match=r"requests wait, and (worker|verb) has done nothing"
        ):
            probe_for(20, probe)
        with pytest.raises(ProbeFailure, match="requests wait"):
            probe.check("ready")
    with pytest.raises(ProbeFailure, match="not ready for"):
        asking(server, give_up_after_s=0.0).check("live")
    asking(server, timeout_s=20.0).check("ready")
    asking(server, give_up_after_s=0.0).check("live")


@pytest.mark.server
def test_a_server_that_has_never_answered_is_not_ready_however_busy(served, asking):
    server, orders = served(closed_apis=CLOSED)
    with ordered(orders, "3"), pytest.raises(ProbeFailure, match="none ever, from verb"):
        asking(server, timeout_s=0.5).check("ready")
    asking(server, timeout_s=20.0).check("ready")
    asking(server, timeout_s=20.0, proof_s=600.0).check("ready")
    url = f"http://{server.http_url}/v2/models/stats"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url)


@pytest.mark.server
def test_a_failing_model_is_reported_at_once_with_tritons_reason(shared, asking):
    server, orders = shared
    with (
        ordered(orders, "fail"),
        pytest.raises(ProbeFailure, match=r"HTTP 500: .*not work any more"),
    ):
        asking(server).check("ready")
    asking(server).check("ready")


@pytest.mark.server
def test_the_failures_of_users_prove_nothing(shared, asking):
    server, orders = shared
    time.sleep(0.1)
    began = time.time()
    with ordered(orders, "fail"):
        with contextlib.suppress(Exception):
            infer(server.grpc_url, "stranger", {"x": np.zeros((1, 4), np.float32)})
        with pytest.raises(ProbeFailure, match="not work any more"):
            asking(server, timeout_s=5.0, proof_s=time.time() - began).check("ready")


@pytest.mark.server
def test_a_dead_process_fails_both_levels_and_its_requests_too(served, asking):
    server, _ = served()
    asking(server).check("ready")
    victim = next(stub for stub in stubs_of(server.pid) if stub.instance.startswith("worker"))
    os.kill(victim.process.pid, signal.SIGKILL)
    while victim.is_alive():
        time.sleep(0.01)
    for level in ("live", "ready"):
        with pytest.raises(ProbeFailure, match="1 backend processes are dead"):
            asking(server).check(level)
    with pytest.raises(ProbeFailure, match=r"verb: HTTP 500: .*worker.* is not healthy"):
        asking(server, look_at_processes=False, timeout_s=5.0).check("ready")


def test_a_process_that_is_not_there_fails():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ProbeFailure, match=r"no answer within 0\.3 s"):
            Probe(http_port=port, grpc_port=port, timeout_s=0.3).check("live")


def test_nobody_listening_is_one_line_and_exit_code_1():
    app = typer.Typer()
    app.command()(main)
    refused = CliRunner().invoke(app, ["live", "--http-port", "1"])
    assert refused.exit_code == 1
    assert refused.stderr.startswith("not live: ConnectionRefusedError")


def test_the_picture_of_a_probe_is_a_png_and_the_same_for_an_hour(tmp_path):
    assert probe_requests.png(7) == probe_requests.png(7) != probe_requests.png(8)
    (tmp_path / "probe.png").write_bytes(probe_requests.png(7))
    assert np.asarray(Image.open(tmp_path / "probe.png")).shape == (16, 16, 3)
