"""Calls abandoned by their callers: the server never learns of it, and each is accounted for."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from fovea_client import AsyncClient, Client, DeadlineExceeded, Overloaded, Unavailable, calls

from tests.client.conftest import QUICK
from tests.client.fake_triton import FakeTriton, plausible


@pytest.fixture
def gate(triton: FakeTriton) -> Iterator[threading.Event]:
    """The server keeps working on requests until the gate opens."""
    opened = threading.Event()

    def behave(call):
        opened.wait(20)
        return plausible(call)

    triton.behave = behave
    yield opened
    opened.set()


def wait_until(holds, within_s: float = 10.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.005)


def assert_none_is_cut_off(triton: FakeTriton, gate: threading.Event, asked: int) -> None:
    """Open the gate; all requests must be answered, even if nobody waits for them."""
    wait_until(lambda: len(triton.calls) == asked)
    gate.set()
    wait_until(lambda: triton.in_flight == 0)
    assert triton.cut_off == 0


def test_a_deadline_leaves_the_call(triton: FakeTriton, client: Client, gate) -> None:
    with pytest.raises(DeadlineExceeded, match=r"no answer within 0.1 s"):
        client.embed_text("cat", timeout_s=0.1)
    assert client.abandoned == 1
    gc.collect()
    assert_none_is_cut_off(triton, gate, asked=1)
    wait_until(lambda: client.abandoned == 0)


def test_a_cancelled_task_leaves_its_call(triton: FakeTriton, gate) -> None:
    async def scenario() -> None:
        client = AsyncClient(triton.url)
        task = asyncio.create_task(client.embed_text("cat"))
        while not triton.calls:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert client.abandoned == 1

    asyncio.run(scenario())
    gc.collect()
    assert_none_is_cut_off(triton, gate, asked=1)


def test_tasks_that_the_end_of_a_loop_cancels_leave_their_calls(triton: FakeTriton, gate) -> None:
    client = AsyncClient(triton.url)
    tasks = []

    async def scenario() -> None:
        tasks.extend(asyncio.create_task(client.embed_text("cat")) for _ in range(5))
        while len(triton.calls) < 5:
            await asyncio.sleep(0.005)

    asyncio.run(scenario())
    assert all(task.cancelled() for task in tasks)
    assert_none_is_cut_off(triton, gate, asked=5)


def test_a_loop_that_is_closed_over_a_waiting_task_is_not_called(triton: FakeTriton, gate) -> None:
    client, loop = AsyncClient(triton.url), asyncio.new_event_loop()
    task = loop.create_task(client.embed_text("cat"))

    async def until_sent() -> None:
        while not triton.calls:
            await asyncio.sleep(0.005)

    loop.run_until_complete(until_sent())
    loop.close()
    assert_none_is_cut_off(triton, gate, asked=1)
    wait_until(lambda: client.abandoned == 0)
    assert not task.done()
    task._log_destroy_pending = False


def test_leaving_the_iterator_leaves_the_calls(triton: FakeTriton, gate) -> None:
    slow = triton.behave
    triton.behave = lambda call: plausible(call) if call.text() == "first" else slow(call)

    async def scenario() -> None:
        client = AsyncClient(triton.url)
        pictures = [b"first", *[b"other"] * 7]
        outcomes = client.map(lambda image: client.embed_text(image.decode()), pictures)
        async for outcome in outcomes:
            assert outcome.index == 0
            break
        await outcomes.aclose()

    asyncio.run(scenario())
    assert_none_is_cut_off(triton, gate, asked=len(triton.calls))


def test_closing_answers_all_waiters_and_cuts_nothing_off(triton: FakeTriton, gate) -> None:
    errors = []

    def call() -> None:
        with pytest.raises(Unavailable, match="closed during the call") as caught:
            client.embed_text("cat")
        errors.append(caught.value)

    client = Client(triton.url, retry=QUICK)
    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(triton.calls) == 3)
    client.close()
    for thread in threads:
        thread.join(5)
    assert len(errors) == 3
    with pytest.raises(Unavailable, match="client is closed"):
        client.embed_text("cat")
    assert client.abandoned == 3
    assert_none_is_cut_off(triton, gate, asked=3)


def test_closing_answers_waiting_tasks_too(triton: FakeTriton, gate) -> None:
    async def scenario() -> None:
        async with AsyncClient(triton.url) as client:
            task = asyncio.create_task(client.embed_text("cat"))
            while not triton.calls:
                await asyncio.sleep(0.005)
        with pytest.raises(Unavailable, match="closed during the call"):
            await task

    asyncio.run(scenario())
    assert_none_is_cut_off(triton, gate, asked=1)


def test_a_client_that_nobody_refers_to_leaves_its_calls(triton: FakeTriton, gate) -> None:
    with pytest.raises(DeadlineExceeded):
        Client(triton.url).embed_text("cat", timeout_s=0.1)
    gc.collect()
    assert_none_is_cut_off(triton, gate, asked=1)


def test_abandoned_calls_are_bounded(triton: FakeTriton, gate, monkeypatch) -> None:
    monkeypatch.setattr(calls, "MAX_ABANDONED", 3)
    with Client(triton.url, retry=QUICK) as client:
        for _ in range(3):
            with pytest.raises(DeadlineExceeded):
                client.embed_text("cat", timeout_s=0.05)
        with pytest.raises(Overloaded, match="3 requests whose callers left"):
            client.embed_text("cat", timeout_s=0.2)
        assert len(triton.calls) == 3
        opening = threading.Timer(0.2, gate.set)
        opening.start()
        assert len(client.embed_text("cat", timeout_s=10)) == 3
        opening.join()


PROGRAM = """
import sys, threading
from fovea_client import Client, FoveaError, calls
client = Client(sys.argv[1])
{setting}
print("ready", flush=True)
{body}
"""
IGNORING_ERRORS = """
try:
    client.embed_text("cat", timeout_s=0.3)
except FoveaError as error:
    print(type(error).__name__)
"""
DAEMONS = """
def ask():
    while True:
        client.embed_text("cat")
for _ in range(4):
    threading.Thread(target=ask, daemon=True).start()
import time; time.sleep(0.5)
"""


def started(triton: FakeTriton, body: str, setting: str = "") -> subprocess.Popen[str]:
    code = PROGRAM.format(body=body, setting=setting)
    command = [sys.executable, "-c", code, triton.url]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **pipes)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("body", [IGNORING_ERRORS, DAEMONS], ids=["deadline", "daemons"])
def test_the_interpreter_waits_for_its_calls_in_silence(triton: FakeTriton, gate, body) -> None:
    process = started(triton, body)
    wait_until(lambda: triton.calls)
    triton.behave = lambda call: time.sleep(0.3) or plausible(call)
    threading.Timer(1.0, gate.set).start()
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "")
    wait_until(lambda: triton.in_flight == 0)
    assert triton.cut_off == 0


def test_the_interpreter_does_not_wait_for_ever(triton: FakeTriton, gate) -> None:
    process = started(triton, IGNORING_ERRORS, setting="calls.EXIT_WAIT_S = 0.5")
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "")


def test_an_interrupted_call_is_left(triton: FakeTriton, gate) -> None:
    process = started(triton, 'client.embed_text("cat")')
    wait_until(lambda: triton.calls)
    process.send_signal(signal.SIGINT)
    threading.Timer(1.0, gate.set).start()
    _, said = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert said.splitlines()[-1] == "KeyboardInterrupt"
    wait_until(lambda: triton.in_flight == 0)
    assert triton.cut_off == 0


INTERRUPTED = """
import signal, os, random, time
def strike():
    while True:
        time.sleep(random.uniform(0, 0.004))
        os.kill(os.getpid(), signal.SIGINT)
done = 0
def handle(*_):
    if striking: raise KeyboardInterrupt
signal.signal(signal.SIGINT, handle)
striking = False
threading.Thread(target=strike, daemon=True).start()
while done < 200:
    try:
        striking = True
        client.embed_text("cat")
    except KeyboardInterrupt:
        pass
    finally:
        striking = False
    done += 1
print("lives", len(client.embed_text("cat")))
"""


def test_interrupts_at_any_moment_cut_nothing_off(triton: FakeTriton) -> None:
    triton.behave = lambda call: time.sleep(0.002) or plausible(call)
    process = started(triton, INTERRUPTED)
    answer, said = process.communicate(timeout=60)
    assert (answer, process.returncode, said) == ("lives 3\n", 0, "")
    wait_until(lambda: triton.in_flight == 0)
    assert triton.cut_off == 0


def test_a_forked_child_ends_without_waiting_for_its_parents_calls(
    triton: FakeTriton, gate
) -> None:
    body = IGNORING_ERRORS + "import os\nif os.fork() == 0: sys.exit(3)\n"
    waiting = "calls.EXIT_WAIT_S = 60"
    process = started(
        triton,
        setting=waiting,
        body=body + "print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)",
    )
    assert process.stdout.readline() == "DeadlineExceeded\n"
    assert process.stdout.readline() == "3\n"
    assert not gate.is_set() and triton.in_flight == 1
    gate.set()
    process.communicate(timeout=20)


def test_an_error_in_sending_reaches_the_caller_and_the_call_is_not_running(client: Client) -> None:
    call = client._open().start(lambda: 1 / 0)
    assert isinstance(call.outcome.exception(5), ZeroDivisionError)
    assert client._open().wait_until_idle(5)
