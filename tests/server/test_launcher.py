import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as grpc_client
from fovea_server import EmbeddedServer, StartError
from fovea_server.installation import STUB
from tritonclient.utils import InferenceServerException

from . import graphs
from .requests import infer, tensor

pytestmark = pytest.mark.server

X = np.ones((1, 4), np.float32)
# A request sent this long ago, in s, has arrived.
ARRIVAL_S = 0.2
PORTS = ["--grpc-port=0", "--http-port=0", "--metrics-port=0"]


@contextlib.contextmanager
def launcher(repository, *flags):
    """`python -m fovea_server` in its own process, and its output when it was ready."""
    command = [sys.executable, "-m", "fovea_server", str(repository), "--json", *PORTS, *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_until(condition, *, within_s):
    """Seconds until the condition held."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s, "too late"
        time.sleep(0.02)
    return time.monotonic() - began


def test_the_json_line_has_the_servers_addresses(tmp_path):
    graphs.add_linear(tmp_path, "linear")
    with launcher(tmp_path) as (process, where):
        assert where["models"] == ["linear"]
        assert infer(where["grpc"], "linear", {"x": X})["z"].tolist() == [[-1.0] * 4]
        assert psutil.Process(where["pid"]).ppid() == process.pid
        assert "nv_inference_count" in urllib.request.urlopen(where["metrics"]).read().decode()


def test_sigterm_under_load_answers_every_accepted_request(tmp_path):
    graphs.add_sleeper(tmp_path)
    with launcher(tmp_path, "--exit-timeout-s=10") as (process, where):
        outcomes, stopped = [], threading.Event()

        def ask(number):
            x = np.full((1, 4), number, np.float32)
            with grpc_client.InferenceServerClient(where["grpc"]) as client:
                while not stopped.is_set():
                    sent = time.monotonic()
                    try:
                        result = client.infer("sleeper", [tensor("x", x)], client_timeout=20)
                        outcome = np.array_equal(result.as_numpy("y"), x)
                    except InferenceServerException as exc:
                        outcome = exc.status()
                    outcomes.append((sent, time.monotonic(), outcome))
                    if outcome is not True:
                        return

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(outcomes) > len(threads), within_s=20)
        time.sleep(ARRIVAL_S)
        asked_to_stop = time.monotonic()
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert process.wait(20) == 0
    accepted = [
        (ended, outcome) for sent, ended, outcome in outcomes if sent < asked_to_stop - ARRIVAL_S
    ]
    assert len(accepted) > len(threads)
    assert any(ended > asked_to_stop for ended, _ in accepted)
    assert all(outcome is True for _, outcome in accepted)
    refusals = {outcome for *_, outcome in outcomes if outcome is not True}
    assert refusals <= {"StatusCode.UNAVAILABLE", "StatusCode.NOT_FOUND"}


def test_a_second_signal_kills(tmp_path):
    graphs.add_sleeper(tmp_path)
    with launcher(tmp_path) as (process, where):
        client = grpc_client.InferenceServerClient(where["grpc"])
        client.is_server_ready()  # An open connection holds up an orderly stop for 30 s.
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) != 0
        assert not psutil.pid_exists(where["pid"])
        client.close()


def test_nothing_remains_when_the_launcher_is_killed(tmp_path):
    graphs.add_sleeper(tmp_path)
    graphs.add_linear(tmp_path, "linear")
    with launcher(tmp_path) as (process, where):
        triton = psutil.Process(where["pid"])
        family = [triton, *triton.children()]
        regions = shared_memory_of(triton)
        assert len(family) == 3 and len(regions) == 2
        process.kill()
        process.wait()
        seconds = wait_until(lambda: not any(alive(member) for member in family), within_s=5)
        print(f"\ntritonserver and stubs gone {seconds:.2f} s after the launcher")
        wait_until(lambda: not any(region.exists() for region in regions), within_s=2)


def alive(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def shared_memory_of(triton):
    return [
        Path("/dev/shm", argument)
        for child in triton.children()
        for argument in child.cmdline()
        if "_shm_region_" in argument
    ]


def test_servers_started_at_once_do_not_collide(tmp_path, options, monkeypatch):
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path / "cache"))
    repository = tmp_path / "repository"
    graphs.add_linear(repository, "linear")
    servers = [EmbeddedServer(options(repository)) for _ in range(3)]
    threads = [threading.Thread(target=server.start) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({port for server in servers for port in vars(server.ports).values()}) == 9
    for server in servers:
        assert infer(server.grpc_url, "linear", {"x": X})["z"].tolist() == [[-1.0] * 4]
    assert [server.stop() for server in servers] == [0, 0, 0]
    assert len(os.listdir(tmp_path / "cache" / "backends")) == 1


def test_a_taken_port_is_an_error_with_the_reason(tmp_path, options, server):
    graphs.add_linear(tmp_path, "linear")
    with pytest.raises(StartError, match="already in use") as raised:
        EmbeddedServer(options(tmp_path, http_port=server.ports.http)).start()
    assert raised.value.exit_code == 1


def test_administration_is_closed_to_clients_and_the_secret_is_hidden(server):
    for path in ("/v2/repository/index", "/v2/repository/models/linear/unload"):
        order = urllib.request.Request(f"http://{server.http_url}{path}", method="POST")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(order)
    with grpc_client.InferenceServerClient(server.grpc_url) as client:
        for ask in (
            client.get_model_repository_index,
            client.get_log_settings,
            client.get_trace_settings,
            client.get_system_shared_memory_status,
        ):
            with pytest.raises(InferenceServerException, match="restricted"):
                ask()
        assert client.get_model_config("linear").config.name == "linear"
    arguments = " ".join(psutil.Process(server.pid).cmdline())
    assert "x-fovea-admin=***" in arguments


def test_a_signal_while_models_load_ends_the_launcher_at_once(tmp_path):
    graphs.add_slow_to_load(tmp_path)
    command = [sys.executable, "-m", "fovea_server", str(tmp_path), *PORTS]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    children = []
    wait_until(lambda: children.extend(triton_of(process)) or children, within_s=10)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Stopped before it was ready" in said
    assert not any(alive(child) for child in children)


def triton_of(launcher_process):
    """tritonserver and its first stub, or nothing as long as they are not there."""
    family = psutil.Process(launcher_process.pid).children(recursive=True)
    return family if any(STUB in " ".join(member.cmdline()) for member in family) else []
