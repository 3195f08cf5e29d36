"""A model version replaced under load: no request fails, and the new version answers."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

import tritonclient.grpc as triton
from fovea_client import Client, RetryPolicy
from fovea_server import EmbeddedServer

from benchmarks.exports import FIRST_STEP, GROUNDING_DINO, SAM_IMAGE_ENCODER
from demo.served import demo_server, export_demo
from tests.faults.ledger import Ledger
from tests.faults.load import Questions, closed_loop, quiet_load
from tests.faults.report import Report, judged

# Two that run one after the other, and one of the two that run at the same time.
MODELS = (GROUNDING_DINO, SAM_IMAGE_ENCODER, FIRST_STEP)
REQUESTS = 100
PAUSE_S = 2.0
TIMEOUT_S = 120.0


def run(*, models: tuple[str, ...] = MODELS, requests: int = REQUESTS) -> Report:
    """Add a second version of each model in turn, while callers send without retries."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        shutil.copytree(export_demo(), repository)
        with demo_server(repository) as server:
            return _run(server, repository, models, requests)


def _run(
    server: EmbeddedServer, repository: Path, models: tuple[str, ...], requests: int
) -> Report:
    once = RetryPolicy(attempts=1)
    with Client(server.grpc_url, timeout_s=TIMEOUT_S, retry=once) as client:
        questions = Questions(client)
        before, pid = quiet_load(questions.ask, requests), server.pid
        ledger, took, began = Ledger(), {}, time.perf_counter()
        with closed_loop(ledger, questions.ask):
            for model in models:
                time.sleep(PAUSE_S)
                add_version(repository, model)
                asked = time.perf_counter()
                server.load_changes()
                took[model] = round(time.perf_counter() - asked, 2)
            time.sleep(PAUSE_S)
        seconds = time.perf_counter() - began
    account, versions = ledger.account(), _versions(server, models)
    return judged(
        "model versions replaced under load",
        before,
        account,
        seconds,
        {"loaded_in_s": took, "versions": versions},
        {
            f"no request is refused ({account.refusals})": account.refused == 0,
            "the new versions serve": set(versions.values()) == {"2"},
            "tritonserver is the same": server.pid == pid,
        },
    )


def add_version(repository: Path, model: str) -> None:
    """Add version 2, a copy of version 1, by a rename."""
    aside = repository.parent / f"{model}-2"
    shutil.copytree(repository / model / "1", aside)
    os.rename(aside, repository / model / "2")


def _versions(server: EmbeddedServer, models: tuple[str, ...]) -> dict[str, str]:
    with triton.InferenceServerClient(server.grpc_url) as client:
        return {model: ",".join(client.get_model_metadata(model).versions) for model in models}
