"""Valid requests with known right answers, in a closed or an open loop."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from fovea_client import AsyncClient, Client, MainObject
from fovea_client.errors import FoveaError

from benchmarks.loads import poisson_arrivals
from demo.samples import FOLDER as SAMPLES
from tests.faults.ledger import Account, Ledger

CALLERS = 4
# Answers of other batches differ by rounding.
BOX_PX = 1.0


def _truths() -> list[dict]:
    truths: list[dict] = json.loads((SAMPLES / "truth.json").read_text())
    return truths


def sample_paths() -> list[Path]:
    """The committed sample pictures."""
    return [SAMPLES / truth["file"] for truth in _truths()]


class Questions:
    """The sample pictures in turn, with the answer of the client's undisturbed server to each."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.pictures = [path.read_bytes() for path in sample_paths()]
        self.labels = sorted({truth["label"] for truth in _truths()})
        self._expected = [client.main_object(picture, self.labels) for picture in self.pictures]

    def picture(self, number: int) -> bytes:
        """The encoded picture of a request."""
        return self.pictures[number % len(self.pictures)]

    def is_right(self, number: int, answer: MainObject) -> bool:
        """Whether the answer to request `number` is the expected one."""
        expected = self._expected[number % len(self.pictures)]
        if (answer.label, answer.found) != (expected.label, expected.found):
            return False
        return not expected.found or bool(np.abs(answer.box - expected.box).max() <= BOX_PX)

    def ask(self, number: int, client: Client | None = None) -> bool:
        """Send request `number`, by another client if one is given; is the answer right?"""
        answer = (client or self._client).main_object(self.picture(number), self.labels)
        return self.is_right(number, answer)

    async def ask_async(self, number: int, client: AsyncClient) -> bool:
        """The same by an AsyncClient."""
        answer = await client.main_object(self.picture(number), self.labels)
        return self.is_right(number, answer)


@contextmanager
def closed_loop(
    ledger: Ledger,
    ask: Callable[[int], bool],
    *,
    callers: int = CALLERS,
    at_least: int = 0,
    until_refused: bool = False,
) -> Iterator[list[Future[None]]]:
    """Callers that each send the next request when the last is answered, while the block runs.

    at_least: they go on until so many requests were sent. until_refused: a caller ends with its
    first error; the yielded list shows who has ended.
    """
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set() or len(ledger) < at_least:
            if not ledger.ask(ask) and until_refused:
                return

    with ThreadPoolExecutor(callers) as pool:
        working = [pool.submit(work) for _ in range(callers)]
        try:
            yield working
        finally:
            stop.set()
        for one in working:
            one.result()


def quiet_load(ask: Callable[[int], bool], requests: int, *, callers: int = CALLERS) -> Account:
    """The account of `requests` requests."""
    ledger = Ledger()
    with ThreadPoolExecutor(callers) as pool:
        for _ in pool.map(lambda _: ledger.ask(ask), range(requests)):
            pass
    return ledger.account()


async def open_loop(
    ledger: Ledger,
    ask: Callable[[int], Awaitable[bool]],
    *,
    rate: float,
    seconds: float,
    seed: int = 0,
) -> None:
    """Send requests at random times, however late the answers are; returns with the last."""
    began, tasks = time.perf_counter(), []

    async def one(number: int) -> None:
        try:
            ledger.answer(number, right=await ask(number))
        except FoveaError as error:
            ledger.fail(number, error)

    for due in poisson_arrivals(rate, seconds, seed):
        await asyncio.sleep(max(0.0, began + due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(ledger.send())))
    await asyncio.gather(*tasks)
