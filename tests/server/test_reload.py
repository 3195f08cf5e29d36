"""New model versions under load: all requests are answered, the later ones by the new version."""

import os
import shutil
import signal
import threading

import numpy as np
import pytest
import tritonclient.grpc as triton
from fovea_server import EmbeddedServer, ServerError

from . import graphs
from .requests import tensor
from .test_launcher import launcher, wait_until

pytestmark = pytest.mark.server

X = np.ones((1, 4), np.float32)


@pytest.fixture
def repository(tmp_path):
    graphs.add_linear(tmp_path, "linear")
    return tmp_path


def add_version(repository, number):
    """A copy of version 1, put in place at once."""
    aside = repository.parent / f"version-{number}"
    shutil.copytree(repository / "linear" / "1", aside)
    os.rename(aside, repository / "linear" / str(number))


class Caller(threading.Thread):
    """Calls without a pause, and notes which version answered, or the error."""

    def __init__(self, url):
        super().__init__()
        self.url, self.versions, self.errors = url, [], []
        self.stopped = threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.stopped.set()
        self.join()

    def run(self):
        with triton.InferenceServerClient(self.url) as client:
            while not self.stopped.is_set():
                try:
                    answer = client.infer("linear", [tensor("x", X)], client_timeout=60)
                    self.versions.append(answer.get_response().model_version)
                except triton.InferenceServerException as error:
                    self.errors.append(error)


def test_sighup_loads_a_new_version_and_no_request_fails(repository):
    with launcher(repository) as (process, where), Caller(where["grpc"]) as asking:
        assert where["launcher_pid"] == process.pid
        wait_until(lambda: "1" in asking.versions, within_s=60)
        add_version(repository, 2)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "2" in asking.versions, within_s=60)
    assert not asking.errors
    assert asking.versions == sorted(asking.versions)


def test_a_version_that_cannot_be_loaded_leaves_the_old_one(repository, options):
    with EmbeddedServer(options(repository)) as server, Caller(server.grpc_url) as asking:
        wait_until(lambda: asking.versions, within_s=60)
        add_version(repository, 2)
        (repository / "linear" / "2" / "model.onnx").write_bytes(b"not a network")
        with pytest.raises(ServerError, match="linear"):
            server.load_changes()
        before = len(asking.versions)
        wait_until(lambda: len(asking.versions) > before, within_s=60)
    assert not asking.errors
    assert set(asking.versions) == {"1"}


def test_other_model_control_modes_refuse(repository, options):
    refusal = pytest.raises(ServerError, match="expected the model control mode 'explicit'")
    with EmbeddedServer(options(repository, model_control_mode="none")) as server, refusal:
        server.load_changes()
