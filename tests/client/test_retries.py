"""Deadlines, retries and errors, against a server that refuses, delays, dies and comes back."""

from __future__ import annotations

import math
import threading
import time

import grpc
import pytest
from fovea_client import (
    Client,
    DeadlineExceeded,
    FoveaError,
    ImageTooLarge,
    InvalidImage,
    InvalidInput,
    InvalidTensor,
    Overloaded,
    RetryPolicy,
    ServerError,
    Unavailable,
    UnknownVerb,
)
from fovea_client.errors import Failure
from fovea_client.retry import Attempts, Deadline
from hypothesis import given
from hypothesis import strategies as st

from tests.client.conftest import QUICK
from tests.client.fake_triton import FakeTriton, Refusal, plausible

Status = grpc.StatusCode

REFUSALS = [
    (
        Status.INVALID_ARGUMENT,
        "in ensemble 'detect', [invalid_image] no JPEG",
        InvalidImage,
    ),
    (Status.INVALID_ARGUMENT, "[image_too_large] expected at most 9 pixels", ImageTooLarge),
    (Status.INVALID_ARGUMENT, "unexpected shape for input 'IMAGE'", InvalidTensor),
    (Status.INTERNAL, "Failed to process the request(s)", ServerError),
    (Status.UNKNOWN, "", ServerError),
    (Status.UNIMPLEMENTED, "", ServerError),
    (Status.UNAUTHENTICATED, "who are you?", Unavailable),
]
PASSING = [
    (Status.UNAVAILABLE, "[request id: <id_unknown>] Exceeds maximum queue size", Overloaded),
    (Status.UNAVAILABLE, "in ensemble 'x', Request timeout expired", Overloaded),
    (Status.RESOURCE_EXHAUSTED, "quota", Overloaded),
    (Status.INTERNAL, "Stub process 'sam_0' is not healthy.", Unavailable),
    (Status.UNAVAILABLE, "Socket closed", Unavailable),
    (Status.UNAVAILABLE, "'sam' version 1 is not at ready state", Unavailable),
    (
        Status.NOT_FOUND,
        "Request for unknown model: 'detect' has no available versions",
        Unavailable,
    ),
    (
        Status.NOT_FOUND,
        "in ensemble 'detect', Request for unknown model: 'sam' is not found",
        Unavailable,
    ),
    (
        Status.INVALID_ARGUMENT,
        "in ensemble 'detect', incomplete string data for inference input 'TEXT', "
        "expecting string of length 9 but only 8 bytes available",
        Unavailable,
    ),
]


@pytest.mark.parametrize(("status", "message", "error"), REFUSALS)
def test_errors_that_a_retry_cannot_help_are_not_retried(
    triton: FakeTriton, client: Client, png: bytes, status, message, error
) -> None:
    triton.behave = lambda call: Refusal(status, message)
    with pytest.raises(FoveaError) as caught:
        client.detect(png, "cat")
    assert type(caught.value) is error
    assert isinstance(caught.value.__cause__, grpc.RpcError)
    assert len(triton.calls) == 1


@pytest.mark.parametrize(("status", "message", "error"), PASSING)
def test_passing_errors_are_retried(
    triton: FakeTriton, client: Client, png: bytes, status, message, error
) -> None:
    triton.first = [Refusal(status, message)] * 2
    assert len(client.detect(png, "cat")) == 1
    assert [call.inputs["IMAGE"][0, 0] for call in triton.calls] == [png] * 3


@pytest.mark.parametrize(("status", "message", "error"), PASSING)
def test_errors_that_do_not_pass_are_raised_at_the_deadline(
    triton: FakeTriton, png: bytes, status, message, error
) -> None:
    triton.behave = lambda call: Refusal(status, message)
    steady = RetryPolicy(first_delay_s=0.4, multiplier=1, jitter=0)
    start = time.monotonic()
    with Client(triton.url, retry=steady) as client, pytest.raises(error, match=triton.url):
        client.detect(png, "cat", timeout_s=1)
    assert time.monotonic() - start < 1
    assert len(triton.calls) == 3


def test_a_last_attempt_that_is_cut_off_reports_the_error_before(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    triton.first = [Refusal(Status.UNAVAILABLE, "Exceeds maximum queue size")]
    triton.behave = lambda call: time.sleep(0.5) or plausible(call)
    with pytest.raises(DeadlineExceeded, match=r"within 0.2 s, at first: .*maximum queue size"):
        client.detect(png, "cat", timeout_s=0.2)


def test_the_message_of_an_invalid_input_is_the_servers(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    triton.behave = lambda call: Refusal(Status.INVALID_ARGUMENT, "[invalid_image] expected a PNG")
    with pytest.raises(InvalidImage) as caught:
        client.detect(png, "cat")
    assert str(caught.value) == "expected a PNG"


def test_attempts_can_be_limited(triton: FakeTriton, png: bytes) -> None:
    triton.behave = lambda call: Refusal(Status.UNAVAILABLE, "Exceeds maximum queue size")
    policy = RetryPolicy(attempts=3, first_delay_s=0.001)
    with Client(triton.url, retry=policy) as client, pytest.raises(Overloaded):
        client.detect(png, "cat")
    assert len(triton.calls) == 3


def test_a_slow_server_meets_the_deadline(triton: FakeTriton, client: Client, png: bytes) -> None:
    release = threading.Event()

    def behave(call):
        release.wait(30)
        return plausible(call)

    triton.behave = behave
    start = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        client.detect(png, "cat", timeout_s=0.2)
    assert 0.15 < time.monotonic() - start < 0.6
    release.set()


def test_the_server_gets_the_remaining_time(triton: FakeTriton, client: Client, png: bytes) -> None:
    triton.first = [Refusal(Status.UNAVAILABLE, "Exceeds maximum queue size")] * 2
    client.detect(png, "cat", timeout_s=3)
    timeouts = [call.timeout_us for call in triton.calls]
    assert all(2_000_000 < timeout <= 3_000_000 for timeout in timeouts)
    assert timeouts == sorted(timeouts, reverse=True) and timeouts[0] > timeouts[-1]


def test_a_description_shares_one_deadline(triton: FakeTriton, client: Client, png: bytes) -> None:
    def behave(call):
        time.sleep(0.4 if call.model == "detect" else 1.5)
        return plausible(call)

    triton.behave = behave
    with pytest.raises(DeadlineExceeded):
        client.main_object(png, description="a cat", timeout_s=1.2)
    assert [call.model for call in triton.calls] == ["detect", "main_object"]
    assert triton.calls[1].timeout_us <= 800_000


def test_no_deadline_sends_no_timeout(triton: FakeTriton, client: Client, png: bytes) -> None:
    client.detect(png, "cat", timeout_s=math.inf)
    assert triton.calls[0].timeout_us is None


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
def test_a_timeout_is_positive(client: Client, png: bytes, timeout_s: float) -> None:
    with pytest.raises(InvalidInput, match="timeout_s"):
        client.detect(png, "cat", timeout_s=timeout_s)


def test_no_server_is_unavailable(triton: FakeTriton, png: bytes) -> None:
    triton.stop()
    with Client(triton.url, retry=RetryPolicy(attempts=3)) as client:
        with pytest.raises(Unavailable, match=triton.url):
            client.detect(png, "cat")
        assert not client.is_ready()


def test_a_server_that_comes_back_is_found_again(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    client.detect(png, "cat")
    triton.stop()
    restart = threading.Timer(1.0, triton.start)
    restart.start()
    start = time.monotonic()
    client.detect(png, "cat", timeout_s=10)
    assert 0.9 < time.monotonic() - start < 3
    restart.join()


def test_a_server_that_dies_at_work_is_asked_again_when_it_is_back(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    working = threading.Event()

    def behave(call):
        working.set()
        time.sleep(0.5)
        return plausible(call)

    def replace() -> None:
        working.wait(5)
        triton.behave = plausible
        triton.stop()
        triton.start()

    triton.behave = behave
    replacing = threading.Thread(target=replace)
    replacing.start()
    assert len(client.detect(png, "cat", timeout_s=10)) == 1
    assert len(triton.calls) == 2
    replacing.join()


UNKNOWN = Refusal(Status.NOT_FOUND, "Request for unknown model: 'detect' is not found")


def test_an_unknown_verb_is_reported_at_once(
    triton: FakeTriton, client: Client, png: bytes
) -> None:
    triton.models = ("embed_text",)
    triton.behave = lambda call: UNKNOWN
    with pytest.raises(UnknownVerb, match=f"server at {triton.url} has no 'detect'"):
        client.detect(png, "cat")
    assert len(triton.calls) == 1


@pytest.mark.parametrize("ready", [True, False])
def test_a_verb_that_is_there_or_may_come_is_retried(
    triton: FakeTriton, client: Client, png: bytes, ready: bool
) -> None:
    triton.ready, triton.models = ready, ("detect",) if ready else ()
    triton.first = [UNKNOWN] * 2
    assert len(client.detect(png, "cat")) == 1
    assert len(triton.calls) == 3


def test_ready_is_what_the_server_says(triton: FakeTriton, client: Client) -> None:
    assert client.is_ready()
    client.check_ready()
    triton.ready = False
    assert not client.is_ready()
    with pytest.raises(Unavailable, match=f"{triton.url}: the server is starting"):
        client.check_ready()


def test_a_server_that_is_not_ready_says_why(triton: FakeTriton, client: Client) -> None:
    triton.stop()
    with pytest.raises(Unavailable, match="Connection refused"):
        client.check_ready()
    with (
        Client("no-such-host.invalid:8001") as lost,
        pytest.raises(Unavailable, match=r"resol|DNS"),
    ):
        lost.check_ready()


def test_a_proxy_in_the_way_is_named(triton: FakeTriton, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for name in ("grpc_proxy", "https_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Client(triton.url) as client:
        assert not client.is_ready()
        with pytest.raises(Unavailable, match=r"proxy http://127.0.0.1:9 .*no_proxy=127.0.0.1"):
            client.check_ready()
    monkeypatch.setenv("no_proxy", "example.org, 127.0.0.1")
    with Client(triton.url) as client:
        client.check_ready()
        triton.stop()
        with pytest.raises(Unavailable) as caught:
            client.check_ready()
    assert "proxy" not in str(caught.value)


def test_a_closed_client_says_so(triton: FakeTriton, png: bytes) -> None:
    client = Client(triton.url)
    client.detect(png, "cat")
    client.close()
    with pytest.raises(Unavailable, match="closed"):
        client.detect(png, "cat")
    assert not client.is_ready()


def test_closing_ends_calls_in_other_threads(triton: FakeTriton, png: bytes) -> None:
    working, release, errors = threading.Event(), threading.Event(), []

    def behave(call):
        working.set()
        release.wait(30)
        return plausible(call)

    def call() -> None:
        try:
            client.detect(png, "cat")
        except FoveaError as error:
            errors.append(error)

    triton.behave = behave
    client = Client(triton.url, retry=QUICK)
    thread = threading.Thread(target=call)
    thread.start()
    working.wait(30)
    client.close()
    thread.join(20)
    release.set()
    assert [type(error) for error in errors] == [Unavailable]


@pytest.mark.parametrize("url", ["", "http://localhost:8000", "https://x"])
def test_a_url_is_host_and_port(url: str) -> None:
    with pytest.raises(InvalidInput, match="host:port"):
        Client(url)


@given(failures=st.integers(1, 10_000), draw=st.floats(0, 1, exclude_max=True))
def test_delays_grow_to_a_cap_and_jitter_only_shortens_them(failures: int, draw: float) -> None:
    policy = RetryPolicy()
    delay = policy.delay_s(failures, draw)
    assert 0 < delay <= policy.max_delay_s
    assert delay <= policy.delay_s(failures + 1, 0)
    assert delay >= policy.delay_s(failures, 0) * (1 - policy.jitter)


def test_no_wait_begins_beyond_the_deadline() -> None:
    now = [0.0]
    deadline = Deadline(1.0, clock=lambda: now[0])
    policy = RetryPolicy(first_delay_s=0.4, max_delay_s=10, jitter=0)
    attempts = Attempts(policy, deadline, draw=lambda: 0.0)
    failure = Failure(Overloaded("full"), retryable=True)
    assert attempts.delay_after(failure) == pytest.approx(0.4)
    now[0] = 0.4
    assert attempts.timeout_s() == pytest.approx(0.6)
    with pytest.raises(Overloaded):
        attempts.delay_after(failure)
    now[0] = 1.0
    with pytest.raises(Overloaded):
        attempts.timeout_s()
    with pytest.raises(DeadlineExceeded, match="within 1 s"):
        Attempts(policy, deadline).timeout_s()
