"""A process of the pipeline dies under load, or the server is told to stop: nothing is lost."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fovea_client import Client, FoveaError
from fovea_server.stubs import stubs_of

from demo.served import demo_server

pytestmark = pytest.mark.server

LABELS = ["cat", "dog", "van", "man", "tree"]
NOBODY_THERE = re.compile("no available versions|connect|not ready|stopping", re.IGNORECASE)


@pytest.fixture
def own_server():
    """A server that a test may break."""
    with demo_server() as server:
        yield server


def kill_stub(server, model: str) -> None:
    stub = next(s for s in stubs_of(server.pid) if s.instance.startswith(f"{model}_0"))
    stub.process.kill()


@pytest.mark.parametrize("model", ["grounding_dino", "select_masks"])
def test_the_clients_retries_bridge_a_dead_backend_process(own_server, samples, model):
    pictures = [path for path, _ in samples] * 4
    with Client(own_server.grpc_url, timeout_s=60) as client:
        expected = [client.main_object(path, LABELS) for path, _ in samples]
        outcomes = client.main_object_many(pictures, LABELS, concurrency=4)
        answers = []
        for outcome in outcomes:
            if outcome.index == 5:
                kill_stub(own_server, model)
            answers.append(outcome)
    assert [outcome.index for outcome in answers] == list(range(len(pictures)))
    assert [outcome.error for outcome in answers] == [None] * len(pictures)
    for outcome in answers:
        assert outcome.result.label == expected[outcome.index % len(samples)].label
    assert own_server.recoveries.reloads + own_server.recoveries.restarts >= 1


def test_every_accepted_request_is_answered_when_the_server_stops(own_server, samples):
    picture = samples[0][0]
    callers = 4
    answered, refused, started = [], [], threading.Semaphore(0)

    def ask_until_refused() -> None:
        with Client(own_server.grpc_url, timeout_s=20) as client:
            answered.append(client.main_object(picture, LABELS))
            started.release()
            while True:
                try:
                    answered.append(client.main_object(picture, LABELS, timeout_s=3))
                except FoveaError as error:
                    refused.append(error)
                    return

    with ThreadPoolExecutor(callers) as pool:
        futures = [pool.submit(ask_until_refused) for _ in range(callers)]
        for _ in range(callers):
            assert started.acquire(timeout=60)
        time.sleep(0.5)
        assert own_server.stop() == 0
        for future in futures:
            future.result(timeout=60)
    assert len(answered) >= callers
    assert all(answer.label is not None for answer in answered)
    # Each caller's last request was never taken: nobody was there any more. None was cut off.
    assert len(refused) == callers
    assert all(NOBODY_THERE.search(str(error)) for error in refused), refused
