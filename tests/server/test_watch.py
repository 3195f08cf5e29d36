import json
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest
from fovea_server import EmbeddedServer
from fovea_server.orphans import SHARED_MEMORY
from tritonclient.utils import InferenceServerException

from . import graphs
from .installations import add_installation
from .requests import infer
from .test_launcher import wait_until

pytestmark = pytest.mark.server

X = np.ones((1, 4), np.float32)
NOTICE_S = 2.0
POLL = ("--repository-poll-secs=1",)


@pytest.fixture
def repository(tmp_path):
    graphs.add_linear(tmp_path, "killed")
    graphs.add_linear(tmp_path, "neighbour")
    return tmp_path


def stub_of(server, model):
    for process in psutil.Process(server.pid).children():
        if process.status() != psutil.STATUS_ZOMBIE and f"{model}_0_0" in process.cmdline():
            return process
    raise AssertionError(f"no process of {model}")


def recovered(server):
    return server.recoveries.reloads + server.recoveries.restarts


def answers(server, model):
    try:
        return infer(server.grpc_url, model, {"x": X})["z"].tolist() == [[-1.0] * 4]
    except InferenceServerException:
        return False


def kill_and_time(server, model):
    """Kill the model's process; returns seconds until it is recovered and requests succeed."""
    began, before = time.monotonic(), recovered(server)
    stub_of(server, model).kill()
    wait_until(lambda: recovered(server) > before, within_s=20)
    wait_until(lambda: answers(server, model), within_s=20)
    return time.monotonic() - began


def test_a_dead_backend_process_is_reloaded_while_other_models_keep_answering(repository, options):
    with EmbeddedServer(options(repository)) as server:
        pid, outcomes, stopped = server.pid, [], threading.Event()

        def ask_neighbour():
            while not stopped.is_set():
                outcomes.append(answers(server, "neighbour"))

        thread = threading.Thread(target=ask_neighbour)
        thread.start()
        seconds = [kill_and_time(server, "killed") for _ in range(3)]
        stopped.set()
        thread.join()
        print(
            "\nkill -9 of a stub, reload: requests succeed after", [f"{s:.2f} s" for s in seconds]
        )
        assert max(seconds) < NOTICE_S + 2
        assert all(outcomes) and len(outcomes) > 10
        assert server.pid == pid
        assert (server.recoveries.reloads, server.recoveries.restarts) == (3, 0)
        began = time.monotonic()
        assert server.stop() == 0
        # Not held up for the exit timeout by the processes that died.
        assert time.monotonic() - began < 5


def test_an_in_flight_request_fails_within_two_seconds(tmp_path, options):
    graphs.add_sleeper(tmp_path)
    with EmbeddedServer(options(tmp_path)) as server:
        errors = []

        def ask():
            began = time.monotonic()
            try:
                infer(server.grpc_url, "sleeper", {"x": X})
            except InferenceServerException as exc:
                errors.append((str(exc), time.monotonic() - began))

        thread = threading.Thread(target=ask)
        thread.start()
        time.sleep(0.1)
        stub_of(server, "sleeper").kill()
        thread.join()
        [(message, seconds)] = errors
        assert "not healthy" in message and seconds < 2.5
        wait_until(lambda: recovered(server) == 1, within_s=5)
        assert infer(server.grpc_url, "sleeper", {"x": X})["y"].tolist() == X.tolist()


@pytest.mark.parametrize("mode", ["none", "poll"])
def test_without_explicit_control_the_server_restarts_on_the_same_ports(repository, options, mode):
    with EmbeddedServer(options(repository, model_control_mode=mode)) as server:
        ports, pid = server.ports, server.pid
        seconds = kill_and_time(server, "killed")
        print(f"\nkill -9 of a stub, restart: requests succeed after {seconds:.2f} s")
        assert server.ports == ports and server.pid != pid
        assert (server.recoveries.reloads, server.recoveries.restarts) == (0, 1)
        assert answers(server, "neighbour")


def test_a_dead_tritonserver_is_restarted_until_the_limit(repository, options):
    with EmbeddedServer(options(repository, max_restarts_per_minute=1)) as server:
        psutil.Process(server.pid).kill()
        wait_until(lambda: server.recoveries.restarts == 1, within_s=20)
        assert answers(server, "killed")
        psutil.Process(server.pid).kill()
        assert server.wait(10) == 1
        assert "2 times within 60 s; the limit is 1" in str(server.failure)


def test_a_program_that_cannot_be_run_again_ends_the_server(
    repository, options, tmp_path_factory, monkeypatch
):
    program = add_installation(tmp_path_factory.mktemp("site"), 'exec {tritonserver} "$@"')
    monkeypatch.setenv("FOVEA_TRITONSERVER", str(program))
    with EmbeddedServer(options(repository)) as server:
        program.unlink()
        psutil.Process(server.pid).kill()
        assert server.wait(20) == 1
        assert f"cannot run {program}: No such file" in str(server.failure)


# In a separate process: the limit would hit every server that the tests' process watches.
OUT_OF_FILES = """
import json, pathlib, resource, sys
from fovea_server import EmbeddedServer, ServerOptions
from fovea_server.stubs import stubs_of
options = ServerOptions(
    model_repository=pathlib.Path(sys.argv[1]), grpc_port=0, http_port=0, metrics_port=0
)
with EmbeddedServer(options) as server:
    regions = [stub.region for stub in stubs_of(server.pid)]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    code = server.wait(20)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(json.dumps([code, str(server.failure), regions]))
"""


def test_any_other_failure_of_the_watcher_ends_the_server(repository):
    command = [sys.executable, "-c", OUT_OF_FILES, str(repository)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    code, failure, regions = json.loads(ran.stdout)
    assert code == 1 and "Too many open files" in failure
    assert len(regions) == 2
    assert not any((SHARED_MEMORY / region).exists() for region in regions)


@pytest.fixture
def collecting(tmp_path_factory, monkeypatch):
    """A tritonserver that leaves no zombies, like Triton 25.12 after a readiness query."""
    site = tmp_path_factory.mktemp("site")
    program = add_installation(site, 'trap "" CHLD; exec {tritonserver} "$@"')
    monkeypatch.setenv("FOVEA_TRITONSERVER", str(program))


@pytest.mark.parametrize(("mode", "recoveries"), [("explicit", (1, 0)), ("none", (0, 1))])
def test_a_dead_process_that_leaves_no_zombie_is_replaced(
    collecting, repository, options, mode, recoveries
):
    with EmbeddedServer(options(repository, model_control_mode=mode)) as server:
        kill_and_time(server, "killed")
        assert answers(server, "neighbour")
        assert (server.recoveries.reloads, server.recoveries.restarts) == recoveries


def test_a_process_that_ends_with_its_model_is_not_replaced(collecting, repository, options):
    with EmbeddedServer(options(repository, model_control_mode="poll", extra_args=POLL)) as server:
        shutil.rmtree(repository / "neighbour")
        wait_until(lambda: not answers(server, "neighbour"), within_s=20)
        time.sleep(NOTICE_S)
        assert recovered(server) == 0
        assert answers(server, "killed")
