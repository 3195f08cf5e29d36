"""`kill -9` in the middle of a batch job: of a backend process, or of tritonserver itself."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
from fovea_client import Client, MainObject
from fovea_server import EmbeddedServer
from fovea_server.stubs import stubs_of
from rich.progress import Progress

from tests.faults.ledger import Ledger
from tests.faults.load import Questions, quiet_load
from tests.faults.report import Report, judged

PICTURES = 2000
VICTIM = "grounding_dino"
CONCURRENCY = 8
# For one picture with all its retries: longer than a server takes to come back.
TIMEOUT_S = 300.0


def kill_stub(server: EmbeddedServer, model: str = VICTIM) -> None:
    """`kill -9` the first process of a model; returns when it is gone."""
    found = [stub for stub in stubs_of(server.pid) if stub.instance.startswith(f"{model}_0")]
    found[0].process.kill()
    psutil.wait_procs([found[0].process], timeout=1)


def run_backend(
    server: EmbeddedServer, *, pictures: int = PICTURES, victim: str = VICTIM
) -> Report:
    """Kill a backend process in the middle."""
    name = f"kill -9 of the process of {victim}"
    return _run(name, server, pictures, lambda: kill_stub(server, victim))


def run_server(server: EmbeddedServer, *, pictures: int = PICTURES) -> Report:
    """Kill tritonserver in the middle."""
    triton = psutil.Process(server.pid)
    return _run("kill -9 of tritonserver", server, pictures, triton.kill)


def _run(fault: str, server: EmbeddedServer, pictures: int, kill: Callable[[], None]) -> Report:
    with Client(server.grpc_url, timeout_s=TIMEOUT_S) as client:
        questions = Questions(client)
        before = quiet_load(questions.ask, max(24, pictures // 10), callers=CONCURRENCY)
        ledger, began, outcomes = Ledger(), time.perf_counter(), [0] * pictures

        def call(number: int) -> MainObject:
            ledger.send(number)
            answer = client.main_object(questions.picture(number), questions.labels)
            ledger.answer(number, right=questions.is_right(number, answer))
            return answer

        job = client.map(call, range(pictures), concurrency=CONCURRENCY)
        with Progress(transient=True) as progress:
            for outcome in progress.track(job, total=pictures, description=fault):
                outcomes[outcome.index] += 1
                if outcome.error:
                    ledger.fail(outcome.index, outcome.error)
                if outcome.index == pictures // 3:
                    kill()
    seconds, account, recoveries = time.perf_counter() - began, ledger.account(), server.recoveries
    return judged(
        fault,
        before,
        account,
        seconds,
        {
            "reloads": recoveries.reloads,
            "restarts": recoveries.restarts,
            "back_after_s": round(recoveries.last_s, 2),
        },
        {
            "every picture has one outcome": outcomes == [1] * pictures,
            f"every picture is answered ({account.answered})": account.answered == pictures,
            "the launcher brings it back": recoveries.reloads + recoveries.restarts >= 1,
        },
    )
