"""More load than the server can carry: the excess is refused, the rest is answered in time."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from functools import partial

from fovea_client import AsyncClient, Client, RetryPolicy
from fovea_server import EmbeddedServer

from fovea.backlog import LOOK_EVERY, parse_loads
from fovea.deployment import Queues
from tests.faults.ledger import Ledger
from tests.faults.load import Questions, open_loop, quiet_load
from tests.faults.report import Report, judged

TIMES = 3.0
SECONDS = 60.0
CAPACITY_REQUESTS = 400
# Enough callers to fill the batches, few enough that nothing is refused.
CALLERS = 32
TIMEOUT_S = 300.0
THROUGHPUT_KEPT = 0.8
DECODERS = 2


def most_in_server(queues: Queues) -> int:
    """Most requests in the server at once, which are before an accepted one.

    Before the first step, being decoded, and behind it with those accepted between two looks.
    """
    return queues.entry.max_size + queues.backlog + DECODERS * LOOK_EVERY


def run(
    server: EmbeddedServer,
    *,
    seconds: float = SECONDS,
    requests: int = CAPACITY_REQUESTS,
    times: float = TIMES,
    judge_speed: bool = True,
) -> Report:
    """Measure capacity in a closed loop, then send `times` that in an open one, without retries.

    judge_speed: whether times are among the promises; beside other work they are chance.
    """
    with Client(server.grpc_url, timeout_s=TIMEOUT_S) as client:
        questions = Questions(client)
        quiet_load(questions.ask, CALLERS, callers=CALLERS)
        before = quiet_load(questions.ask, requests, callers=CALLERS)
        pid, began = server.pid, time.perf_counter()
        ledger, most_waiting = asyncio.run(
            _overload(server, questions, times * before.per_s, seconds)
        )
        taken_s = time.perf_counter() - began
        after = quiet_load(questions.ask, CALLERS, callers=1)
    account, bound = ledger.account(), most_in_server(Queues())
    refusals = account.refusals
    # The number of waiting requests is bounded, and with the promised throughput so is their time.
    bound_s = bound / (THROUGHPUT_KEPT * before.per_s)
    speed = {
        f"the p99 stays within {bound} requests at {THROUGHPUT_KEPT} of capacity": account.p99_ms
        <= 1e3 * bound_s,
        f"throughput stays at {THROUGHPUT_KEPT} of capacity": account.per_s
        >= THROUGHPUT_KEPT * before.per_s,
    }
    return judged(
        f"{times:g} times the load that it can carry",
        before,
        account,
        taken_s,
        {
            "capacity_per_s": round(before.per_s, 1),
            "offered_per_s": round(account.sent / seconds, 1),
            "throughput_kept": round(account.per_s / before.per_s, 3),
            "p99_bound_ms": round(1e3 * bound_s),
            "most_waiting": most_waiting,
            "p99_after_ms": round(after.p99_ms),
        },
        {
            f"what is refused is refused as overload ({refusals})": {*refusals} == {"Overloaded"},
            f"no queue exceeds {bound}": max(most_waiting.values(), default=0) <= bound,
            "tritonserver lives": server.pid == pid and not server.recoveries.restarts,
        }
        | (speed if judge_speed else {}),
    )


async def _overload(
    server: EmbeddedServer, questions: Questions, rate: float, seconds: float
) -> tuple[Ledger, dict[str, int]]:
    """The ledger of the open loop, and the most requests seen waiting for each model."""
    ledger, most = Ledger(), dict[str, int]()
    once = RetryPolicy(attempts=1)
    async with AsyncClient(server.grpc_url, timeout_s=TIMEOUT_S, retry=once) as client:
        ask = partial(questions.ask_async, client=client)
        loop = asyncio.create_task(open_loop(ledger, ask, rate=rate, seconds=seconds))
        while not loop.done():
            text = await asyncio.to_thread(_metrics, server.metrics_url)
            for model, load in parse_loads(text).items():
                most[model] = max(int(load.waiting), most.get(model, 0))
            await asyncio.wait([loop], timeout=1.0)
        await loop
    return ledger, {model: waiting for model, waiting in most.items() if waiting}


def _metrics(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=30) as answer:
        data: bytes = answer.read()
    return data
