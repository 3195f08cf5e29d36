"""Who gets in, and what every answer has: keys, rates, hosts, limits, headers."""

import re
import socket
import threading
import time
from datetime import datetime, timedelta, timezone

import grpc
import pytest
from fovea_web import keys
from fovea_web.settings import Settings

from tests.client.fake_triton import Refusal, plausible
from tests.web.conftest import asking

TEXT = {"text": "a man"}


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "keys.txt"


def ask(caller, key=None, **more):
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return caller.post("/v1/embed-text", json=TEXT, headers=headers, **more)


def is_problem(answer, status, kind):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["status"]) == (f"/problems/{kind}", status)
    return problem["detail"]


def test_only_a_known_key_lets_in(triton, key_file):
    key = keys.add(key_file, "alice")
    with asking(Settings(url=triton.url, keys=key_file)) as caller:
        assert ask(caller, key).status_code == 200
        answer = ask(caller)
        is_problem(answer, 401, "invalid-key")
        assert answer.headers["www-authenticate"] == "Bearer"
        for other in (f"{key}x", key[:-1], key.upper(), keys.digest(key)):
            is_problem(ask(caller, other), 401, "invalid-key")
        is_problem(caller.get("/v1/deployment"), 401, "invalid-key")
        for path in ("/", "/health/live", "/metrics"):
            assert caller.get(path).status_code == 200


def test_keys_come_and_go_without_a_restart(triton, key_file):
    alice = keys.add(key_file, "alice")
    with asking(Settings(url=triton.url, keys=key_file)) as caller:
        bob = keys.add(key_file, "bob")
        assert ask(caller, bob).status_code == 200
        keys.remove(key_file, "alice")
        is_problem(ask(caller, alice), 401, "invalid-key")
        key_file.write_text("nonsense\n")
        assert ask(caller, bob).status_code == 200


def test_an_expired_key_is_refused(triton, key_file):
    now = datetime.now(timezone.utc)
    old = keys.add(key_file, "old", (now - timedelta(seconds=1)).isoformat())
    new = keys.add(key_file, "new", (now + timedelta(days=1)).isoformat())
    with asking(Settings(url=triton.url, keys=key_file)) as caller:
        assert "expired" in is_problem(ask(caller, old), 401, "invalid-key")
        assert ask(caller, new).status_code == 200


def test_each_key_has_its_own_rate(triton, key_file):
    alice, bob = keys.add(key_file, "alice"), keys.add(key_file, "bob")
    with asking(Settings(url=triton.url, keys=key_file, rate="2/hour")) as caller:
        assert [ask(caller, alice).status_code for _ in range(3)] == [200, 200, 429]
        answer = ask(caller, alice)
        is_problem(answer, 429, "rate-limited")
        assert 3500 < int(answer.headers["retry-after"]) <= 3601
        assert ask(caller, bob).status_code == 200


def test_without_keys_an_address_has_a_rate(triton):
    with asking(Settings(url=triton.url, rate="1/hour")) as caller:
        forged = {"X-Forwarded-For": "10.0.0.1"}
        assert ask(caller).status_code == 200
        assert caller.post("/v1/embed-text", json=TEXT, headers=forged).status_code == 429


def test_a_page_elsewhere_cannot_make_its_name_mean_this_machine(triton):
    with asking(Settings(url=triton.url, hosts=("fovea.example",))) as caller:
        for host in ("evil.example", "127.0.0.1.evil.example", "", "localhost.evil:80"):
            answer = caller.get("/health/live", headers={"Host": host})
            is_problem(answer, 421, "unknown-host")
        for host in ("localhost", "127.0.0.1:8080", "[::1]:8080", "Fovea.Example:443"):
            assert caller.get("/health/live", headers={"Host": host}).status_code == 200


def test_more_requests_at_once_than_agreed_are_refused_and_the_others_answered(triton):
    going, arrived = threading.Event(), threading.Event()

    def behave(call):
        arrived.set()
        assert going.wait(30)
        return plausible(call)

    triton.behave = behave
    answers = []
    with asking(Settings(url=triton.url, in_flight=1)) as caller:
        first = threading.Thread(target=lambda: answers.append(ask(caller)))
        first.start()
        assert arrived.wait(30)
        is_problem(ask(caller), 429, "busy")
        going.set()
        first.join(30)
        assert answers[0].status_code == 200
        assert ask(caller).status_code == 200


def test_every_answer_has_the_security_headers(triton):
    with asking(Settings(url=triton.url)) as caller:
        for path in ("/", "/v1/deployment", "/nothing", "/static/nothing", "/health/live"):
            headers = caller.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'self'" in policy and "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert "access-control-allow-origin" not in headers
            assert "server" not in headers
        preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        answer = caller.options("/v1/detect", headers=preflight)
        assert "access-control-allow-origin" not in answer.headers


def test_a_request_keeps_its_id_if_it_is_fit_for_a_log(triton):
    with asking(Settings(url=triton.url)) as caller:
        given = caller.get("/health/live", headers={"X-Request-Id": "job-7.a"})
        assert given.headers["x-request-id"] == "job-7.a"
        for other in ("a" * 65, "two words", "<b>"):
            made = caller.get("/health/live", headers={"X-Request-Id": other})
            assert re.fullmatch(r"[0-9a-f]{32}", made.headers["x-request-id"])


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "[invalid_text] expected less", (422, "invalid-text")),
        (grpc.StatusCode.INVALID_ARGUMENT, "[image_too_large] too many", (413, "image-too-large")),
        (grpc.StatusCode.INVALID_ARGUMENT, "[invalid_image] broken", (400, "invalid-image")),
        (grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size", (429, "overloaded")),
        (grpc.StatusCode.UNAVAILABLE, "Server is stopping", (503, "unavailable")),
        (grpc.StatusCode.INTERNAL, "it broke", (502, "server-error")),
    ],
)
def test_the_servers_errors_have_fitting_statuses(triton, status, message, expected):
    triton.behave = lambda call: Refusal(status, message)
    with asking(Settings(url=triton.url)) as caller:
        answer = ask(caller)
        is_problem(answer, *expected)
        assert ("retry-after" in answer.headers) == (expected[0] in (429, 503))


def test_a_missing_server_is_reported_soon(triton):
    triton.stop()
    with asking(Settings(url=triton.url)) as caller:
        start = time.monotonic()
        is_problem(ask(caller), 503, "unavailable")
        is_problem(caller.get("/health/ready"), 503, "unavailable")
        is_problem(caller.get("/v1/deployment"), 503, "unavailable")
        assert caller.get("/health/live").status_code == 200
        assert time.monotonic() - start < 15


def test_a_deadline_is_kept_and_has_a_bound(triton):
    going = threading.Event()
    triton.behave = lambda call: going.wait(30) and plausible(call)
    with asking(Settings(url=triton.url, max_timeout_s=5)) as caller:
        start = time.monotonic()
        answer = caller.post("/v1/embed-text", json=TEXT, headers={"X-Timeout-S": "0.2"})
        is_problem(answer, 504, "deadline-exceeded")
        assert time.monotonic() - start < 0.9
        going.set()
        for wrong in ("0", "-1", "nan", "inf", "6", "soon"):
            answer = caller.post("/v1/embed-text", json=TEXT, headers={"X-Timeout-S": wrong})
            assert is_problem(answer, 422, "invalid-parameters").startswith("X-Timeout-S")
        assert ask(caller).status_code == 200


def test_a_caller_that_leaves_harms_nobody(triton):
    arrived = threading.Event()

    def behave(call):
        arrived.set()
        time.sleep(0.5)
        return plausible(call)

    triton.behave = behave
    with asking(Settings(url=triton.url)) as caller:
        host, port = caller.base_url.host, caller.base_url.port
        body = b'{"text": "a man"}'
        head = (
            f"POST /v1/embed-text HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with socket.create_connection((host, port)) as leaving:
            leaving.sendall(head.encode() + body)
            assert arrived.wait(10)
        assert ask(caller).status_code == 200
        assert triton.cut_off == 0
