"""Many pictures in one request."""

import base64
import json
import socket
import threading
import time

import pytest
from fovea_web.settings import Settings

from tests.client.fake_triton import plausible
from tests.web.conftest import asking

NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def png() -> str:
    from fovea_web.examples import PICTURE

    return PICTURE


def batch(caller, lines, verb="detect", headers=None):
    body = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    answer = caller.post(f"/v1/batch/{verb}", content=body, headers={**NDJSON, **(headers or {})})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return {record.get("index"): record for record in map(json.loads, answer.text.splitlines())}


def test_each_line_has_its_answer(triton, png):
    with asking(Settings(url=triton.url)) as caller:
        lines = [{"id": f"p{i}", "image": png, "phrases": [f"thing {i}"]} for i in range(20)]
        found = batch(caller, lines)
        assert set(found) == set(range(20))
        for index, record in found.items():
            assert record["id"] == f"p{index}"
            assert record["result"]["phrases"] == [f"thing {index}"]


def test_an_error_in_a_line_is_reported_and_the_rest_goes_on(triton, png):
    with asking(Settings(url=triton.url, body_bytes=2000)) as caller:
        good = {"image": png, "phrases": "cat"}
        lines = [good, "{broken", {**good, "id": 5, "colour": 1}, "", '"' + "x" * 5000, "[]", good]
        found = batch(caller, lines)
        problems = {i: r["problem"]["type"] for i, r in found.items() if "problem" in r}
        assert problems == {
            1: "/problems/malformed-body",
            2: "/problems/invalid-parameters",
            3: "/problems/body-too-large",
            4: "/problems/malformed-body",
        }
        assert found[2]["id"] == 5
        assert "result" in found[0] and "result" in found[5]


def test_only_a_few_lines_are_processed_at_once_and_no_more_are_read(triton, png):
    going = threading.Event()
    triton.behave = lambda call: going.wait(30) and plausible(call)
    sent = 0
    line = json.dumps({"image": png, "phrases": "cat"}).encode() + b" " * 100_000 + b"\n"

    def lines():
        nonlocal sent
        for _ in range(300):
            sent += 1
            yield line

    def let_go():
        time.sleep(1.5)
        waiting.append((sent, triton.most_in_flight))
        going.set()

    waiting: list[tuple[int, int]] = []
    with asking(Settings(url=triton.url, lines=3)) as caller:
        threading.Thread(target=let_go).start()
        answer = caller.post("/v1/batch/detect", content=lines(), headers=NDJSON)
    read, at_once = waiting[0]
    assert at_once == 3
    assert read < 200  # the rest waited in the caller: sockets hold some megabytes
    assert len(answer.text.splitlines()) == 300
    assert triton.most_in_flight == 3


def test_answers_come_before_the_last_line_was_sent(triton, png):
    with asking(Settings(url=triton.url)) as caller:
        line = json.dumps({"image": png, "phrases": "cat"}).encode() + b"\n"
        with socket.create_connection((caller.base_url.host, caller.base_url.port)) as there:
            there.settimeout(10)
            there.sendall(
                b"POST /v1/batch/detect HTTP/1.1\r\nHost: localhost\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            there.sendall(f"{len(line):x}\r\n".encode() + line + b"\r\n")
            came = b""
            while b'"index":0' not in came:
                came += there.recv(65536)
            there.sendall(f"{len(line):x}\r\n".encode() + line + b"\r\n0\r\n\r\n")
            while b'"index":1' not in came or not came.endswith(b"0\r\n\r\n"):
                came += there.recv(65536)
        assert came.startswith(b"HTTP/1.1 200")


def test_a_caller_that_stops_sending_gets_an_error(triton, png):
    with asking(Settings(url=triton.url, body_idle_s=0.3)) as caller:
        line = json.dumps({"image": png, "phrases": "cat"}).encode() + b"\n"

        def lines():
            yield line
            time.sleep(1.5)
            yield line

        answer = caller.post("/v1/batch/detect", content=lines(), headers=NDJSON)
        records = [json.loads(one) for one in answer.text.splitlines()]
        assert "result" in next(one for one in records if one.get("index") == 0)
        assert any(one.get("problem", {}).get("type") == "/problems/slow-body" for one in records)


def test_a_caller_that_leaves_harms_no_other(triton, png):
    triton.behave = lambda call: time.sleep(0.2) or plausible(call)
    with asking(Settings(url=triton.url)) as caller:
        line = json.dumps({"image": png, "phrases": "cat"}).encode() + b"\n"
        with socket.create_connection((caller.base_url.host, caller.base_url.port)) as leaving:
            leaving.sendall(
                b"POST /v1/batch/detect HTTP/1.1\r\nHost: localhost\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            leaving.sendall((f"{len(line):x}\r\n".encode() + line + b"\r\n") * 3)
            time.sleep(0.1)
        files = {"image": base64.b64decode(png)}
        answer = caller.post("/v1/detect", files=files, data={"phrases": "cat"})
        assert answer.status_code == 200
        assert triton.cut_off == 0


def test_lines_wait_for_their_rate(triton):
    with asking(Settings(url=triton.url, rate="3/second")) as caller:
        start = time.monotonic()
        found = batch(caller, [{"text": f"text {i}"} for i in range(6)], "embed-text")
        assert all("result" in record for record in found.values())
        assert time.monotonic() - start > 0.9


def test_a_verb_that_is_not_served_has_no_batch(triton):
    with asking(Settings(url=triton.url)) as caller:
        answer = caller.post("/v1/batch/guess", content=b"{}", headers=NDJSON)
        assert answer.status_code == 404 and "/v1/detect" in answer.json()["detail"]
