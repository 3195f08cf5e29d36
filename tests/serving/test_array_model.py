"""Requests to a step that do not wait for each other, on the real Triton.

A request names two files: the step creates the first, and answers once the second exists.
"""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tritonclient.grpc as triton
from fovea_client.statistics import ModelStatistics, read_statistics
from fovea_server import EmbeddedServer, ServerOptions
from google.protobuf import text_format

from export.repository import model_config
from fovea.backlog import parse_loads
from fovea.limits import Limits
from fovea.specs import ModelSpec, TensorSpec, to_json
from tests.serving import requests

pytestmark = pytest.mark.server

MODEL = """
import time
from pathlib import Path

from fovea.array_model import ArrayModel
from fovea.steps.base import Step


class Waiting(Step):
    WORKERS = 2
    CALLS_MODELS = {calls_models}

    def run(self, inputs, wanted):
        begun, go_on = (Path(name.decode()) for name in inputs["FILES"])
        begun.touch()
        while not go_on.exists():
            time.sleep(0.005)
        return {{"DONE": inputs["FILES"][:1]}}


class TritonPythonModel(ArrayModel):
    step_type = Waiting
"""
# Long enough for any machine; a failing test would wait for ever.
PATIENCE_S = 60.0


class Caller:
    """Calls the models of MODEL with files of its own folder."""

    def __init__(self, server: EmbeddedServer, folder: Path, pool: ThreadPoolExecutor) -> None:
        self.server, self._folder, self._pool = server, folder, pool
        self._client = triton.InferenceServerClient(server.grpc_url)

    def ask(self, model: str, name: str) -> Future[Any]:
        """A request that waits for `go_on(name)`."""
        files = requests.tensor("FILES", [str(self._begun(name)), str(self._folder / name)])
        return self._pool.submit(self._client.infer, model, [files])

    def _begun(self, name: str) -> Path:
        return self._folder / f"{name}-begun"

    def go_on(self, name: str) -> None:
        (self._folder / name).touch()

    def statistics(self, model: str) -> ModelStatistics:
        """The server's counts for a model."""
        return read_statistics(self.server.grpc_url)[model]

    def wait_until_begun(self, name: str) -> None:
        wait_until(self._begun(name).exists)

    def wait_until_queued(self, model: str, number: int) -> None:
        def queued() -> bool:
            with urllib.request.urlopen(self.server.metrics_url) as answer:
                return parse_loads(answer.read())[model].waiting == number

        wait_until(queued)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def steps_server(tmp_path_factory):
    repository = tmp_path_factory.mktemp("repository")
    for name, calls_models in (("computing", False), ("calling", True)):
        spec = ModelSpec(
            name=name,
            backend="python",
            inputs=(TensorSpec("FILES", "STRING", (2,)),),
            outputs=(TensorSpec("DONE", "STRING", (1,)),),
            max_batch_size=16,
            parameters=(("limits", to_json(Limits())), ("members", "[]")),
        )
        version = repository / name / "1"
        version.mkdir(parents=True)
        (version / "model.py").write_text(MODEL.format(calls_models=calls_models))
        config = text_format.MessageToString(model_config(spec))
        (repository / name / "config.pbtxt").write_text(config)
    options = ServerOptions(
        model_repository=repository, grpc_port=0, http_port=0, metrics_port=0, exit_timeout_s=5
    )
    with EmbeddedServer(options) as server:
        yield server


@pytest.fixture
def asking(steps_server, tmp_path):
    with ThreadPoolExecutor(16) as pool:
        made = Caller(steps_server, tmp_path, pool)
        yield made
        for name in ("first", "slow", "quick"):  # a failed test leaves nothing waiting
            made.go_on(name)


def test_a_slow_request_does_not_hold_the_answers_of_its_batch(asking: Caller):
    first = asking.ask("computing", "first")
    asking.wait_until_begun("first")
    slow = asking.ask("computing", "slow")
    asking.wait_until_queued("computing", 1)
    asking.go_on("quick")
    quick = [asking.ask("computing", "quick") for _ in range(6)]
    asking.wait_until_queued("computing", 7)
    asking.go_on("first")
    for answer in (first, *quick):
        assert answer.result(PATIENCE_S).as_numpy("DONE").shape == (1, 1)
    assert not slow.done()
    asking.go_on("slow")
    assert slow.result(PATIENCE_S)
    # Triton counts a batch a moment after its last answer is sent.
    wait_until(lambda: asking.statistics("computing").inferences >= 8)
    statistics = asking.statistics("computing")
    assert (statistics.inferences, statistics.executions) == (8, 2)


def test_a_step_that_waits_for_other_models_takes_more_requests_meanwhile(asking: Caller):
    slow = asking.ask("calling", "slow")
    asking.wait_until_begun("slow")
    asking.go_on("quick")
    for _ in range(5):
        assert asking.ask("calling", "quick").result(PATIENCE_S)
    assert not slow.done()
    asking.go_on("slow")
    assert slow.result(PATIENCE_S)
