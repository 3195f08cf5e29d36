"""Callers that leave: short deadlines, cancelled tasks and closed clients under overload."""

from __future__ import annotations

import asyncio
import random
import time

from fovea_client import AsyncClient, Client, DeadlineExceeded
from fovea_client.errors import FoveaError
from fovea_server import EmbeddedServer

from tests.faults.ledger import Ledger
from tests.faults.load import Questions, closed_loop, open_loop, quiet_load
from tests.faults.report import Report, judged

TIMES = 3.0
SECONDS = 60.0
CAPACITY_REQUESTS = 200
CALLERS = 8
# Number of callers beside them that wait for their answers.
PATIENT = 2
DEADLINE_S = 0.25
# The share of tasks that are cancelled, each at a random moment before its deadline.
CANCELLED = 0.3
# Both clients are closed with their calls in flight, and reopened, this often.
RENEWED_EVERY_S = 1.0
# For the requests before and after.
TIMEOUT_S = 120.0


class Cancelled(FoveaError):
    """The caller cancelled its own task."""


class _Leaving(Ledger):
    """Counts a caller that left for a known reason as refused, by that reason."""

    def fail(self, number: int, error: FoveaError) -> None:
        if isinstance(error, DeadlineExceeded | Cancelled):
            self.refuse(number, type(error).__name__)
        else:
            super().fail(number, error)


class _Clients:
    """One of each kind, closed now and then under their callers."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.most_abandoned = 0
        self._open()

    def _open(self) -> None:
        self.blocking = Client(self._url, timeout_s=DEADLINE_S)
        self.awaiting = AsyncClient(self._url, timeout_s=DEADLINE_S)

    async def renew(self) -> None:
        """Open new ones and close the old."""
        blocking, awaiting = self.blocking, self.awaiting
        abandoned = blocking.abandoned + awaiting.abandoned
        self.most_abandoned = max(self.most_abandoned, abandoned)
        self._open()
        blocking.close()
        await awaiting.close()


def run(
    server: EmbeddedServer,
    *,
    seconds: float = SECONDS,
    requests: int = CAPACITY_REQUESTS,
    times: float = TIMES,
    seed: int = 0,
) -> Report:
    """Measure capacity, then send `times` that: tasks with deadlines, and threads with the same."""
    with Client(server.grpc_url, timeout_s=TIMEOUT_S) as client:
        questions = Questions(client)
        before = quiet_load(questions.ask, requests, callers=CALLERS)
        pid, ledger, clients = server.pid, _Leaving(), _Clients(server.grpc_url)
        began = time.perf_counter()

        def ask_impatiently(number: int) -> bool:
            return questions.ask(number, clients.blocking)

        impatient = closed_loop(ledger, ask_impatiently, callers=CALLERS)
        with impatient, closed_loop(ledger, questions.ask, callers=PATIENT):
            asyncio.run(_load(ledger, questions, clients, times * before.per_s, seconds, seed))
        asyncio.run(clients.renew())
        taken_s = time.perf_counter() - began
        after = quiet_load(questions.ask, len(questions.pictures), callers=1)
    account = ledger.account()
    return judged(
        f"deadlines of {1e3 * DEADLINE_S:g} ms, cancelled tasks, closed clients at {times:g} times "
        "the load",
        before,
        account,
        taken_s,
        {
            "offered_per_s": round(times * before.per_s, 1),
            "fates": {"answered": account.answered, **account.refusals},
            "most_abandoned": clients.most_abandoned,
        },
        {
            "tritonserver lives": server.pid == pid and not server.recoveries.restarts,
            "no process of it was replaced": not server.recoveries.reloads,
            "callers left": {"DeadlineExceeded", "Cancelled"} <= {*account.refusals},
            "who waits is answered": account.answered > 0,
            "the server answers rightly afterwards": after.answered == after.sent
            and not after.wrong,
        },
    )


async def _load(
    ledger: Ledger, questions: Questions, clients: _Clients, rate: float, seconds: float, seed: int
) -> None:
    """Tasks at `rate`, some cancelled at a random moment, on clients that are renewed."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(RENEWED_EVERY_S)
            await clients.renew()

    rng = random.Random(seed)

    async def ask(number: int) -> bool:
        task = asyncio.create_task(questions.ask_async(number, clients.awaiting))
        if rng.random() < CANCELLED:
            asyncio.get_running_loop().call_later(rng.uniform(0, DEADLINE_S), task.cancel)
        try:
            return await task
        except asyncio.CancelledError as error:
            raise Cancelled("by its caller") from error

    renewing = asyncio.create_task(renew())
    await open_loop(ledger, ask, rate=rate, seconds=seconds, seed=seed)
    renewing.cancel()
