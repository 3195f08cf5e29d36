"""Bodies that are broken, wrong, too large or too slow each get a fitting answer."""

import base64
import http.client
import json
import socket
import tempfile
import time

import httpx2
import pytest
from fovea_web.settings import Settings
from hypothesis import given
from hypothesis import strategies as st

from tests.client.fake_triton import FakeTriton
from tests.web.conftest import asking
from tests.web.test_gate import is_problem

LIMIT = 200_000
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def caller():
    triton = FakeTriton().start()
    settings = Settings(
        triton.url, body_bytes=LIMIT, body_idle_s=0.5, body_s=1.5, rate="1000000/minute"
    )
    with asking(settings) as connected:
        yield connected
    triton.stop()


def detect(caller, image=None, headers=None, **values):
    return caller.post("/v1/detect", json={"image": image, **values}, headers=headers)


def send(caller, body, content_type, path="/v1/detect"):
    return caller.post(path, content=body, headers={"Content-Type": content_type})


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b'{"a": NaN}', b"\xff", b"[" * 9999])
def test_broken_json(caller, body):
    is_problem(send(caller, body, "application/json"), 400, "malformed-body")


@pytest.mark.parametrize(
    "body",
    [
        b"nothing",
        b"--x\r\nContent-Disposition: form-data\r\n\r\nno name\r\n--x--",
        b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\nno end',
        b"--x\r\n\x00\xff: 1\r\n\r\n--x--\r\n",
    ],
)
def test_broken_multipart(caller, body):
    answer = send(caller, body, "multipart/form-data; boundary=x")
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_multipart_without_a_boundary(caller):
    is_problem(send(caller, b"", "multipart/form-data"), 400, "malformed-body")


@pytest.mark.parametrize("content_type", ["text/plain", "image/jpeg", "", "application/xml"])
def test_a_body_of_another_kind(caller, content_type):
    is_problem(send(caller, b"x", content_type), 415, "unsupported-body")


@pytest.mark.parametrize("data", [b"GIF89a....", b"<svg></svg>", b"", b"%PDF-1.7"])
def test_data_that_is_no_picture(caller, data):
    answer = caller.post("/v1/detect", files={"image": data}, data={"phrases": "cat"})
    is_problem(answer, 415, "not-a-picture")


@pytest.mark.parametrize(
    ("values", "parameter"),
    [
        ({"image": "***"}, "image"),
        ({"image": 7}, "image"),
        ({}, "image"),
        ({"image": None, "image_url": "http://127.0.0.1/x"}, None),
        ({"image": "PNG", "image_url": "http://a/"}, "image_url"),
        ({"phrases": 7}, "phrases"),
        ({"phrases": ["a", None]}, "phrases"),
        ({"box_threshold": "0.5"}, "box_threshold"),
        ({"box_threshold": 1.5}, "box_threshold"),
        ({"colour": "red"}, "colour"),
        ({"verb": "../detect"}, "verb"),
    ],
)
def test_wrong_parameters_are_named(caller, png, values, parameter):
    body = {"image": png, **values}
    if values == {} or values.get("image", 0) is None:
        body = values
    answer = caller.post("/v1/detect", json=body)
    assert answer.status_code == 422, answer.text
    if parameter is not None:
        assert answer.json()["detail"].startswith(parameter)
        assert answer.json()["errors"][0]["parameter"] == parameter


@pytest.mark.parametrize(
    "fields",
    [
        {"points": "1,2,3"},
        {"points": "one,two"},
        {"points": "[[1, 2], [3]]"},
        {"points": "1,2", "point_labels": "2"},
        {"boxes": "[1, 2, 3]"},
        {"boxes": "NaN,1,2,3"},
        {"boxes": "[" * 5000},
        {"points": "1,2", "verb": ["a", "b"]},
    ],
)
def test_wrong_fields_of_a_form_are_named(caller, png, fields):
    files = {"image": base64.b64decode(png)}
    answer = caller.post("/v1/segment", files=files, data=fields)
    is_problem(answer, 422, "invalid-parameters")


def test_two_files_or_one_of_another_name(caller, png):
    data = base64.b64decode(png)
    answer = caller.post("/v1/segment", files={"picture": data})
    is_problem(answer, 422, "invalid-parameters")
    answer = caller.post("/v1/segment", files=[("image", data), ("image", data)])
    is_problem(answer, 400, "malformed-body")


def test_an_upload_never_touches_the_disk(triton, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    picture = b"\x89PNG\r\n\x1a\n" + bytes(4 * 1024 * 1024)
    with asking(Settings(url=triton.url)) as caller:
        answer = caller.post("/v1/detect", files={"image": picture}, data={"phrases": "cat"})
    assert answer.status_code == 200, answer.text
    assert triton.calls[-1].inputs["IMAGE"].reshape(-1)[0] == picture


def test_a_body_with_too_large_a_length_is_not_read(caller):
    connection = http.client.HTTPConnection(caller.base_url.host, caller.base_url.port, timeout=10)
    connection.putrequest("POST", "/v1/detect")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(10**12))
    connection.endheaders()
    answer = connection.getresponse()
    problem = json.loads(answer.read())
    assert (answer.status, problem["type"]) == (413, "/problems/body-too-large")
    connection.close()


def test_a_body_without_a_length_is_read_only_to_the_limit(caller):
    sent = 0

    def endless():
        nonlocal sent
        yield b'{"image": "'
        while True:
            sent += 65536
            yield b"A" * 65536

    try:
        answer = caller.post("/v1/detect", content=endless(), headers=JSON)
        is_problem(answer, 413, "body-too-large")
    except httpx2.WriteError:
        pass  # the gateway has closed the connection before the caller looked
    assert sent < 100 * LIMIT


@pytest.mark.parametrize("pause_s", [0.1, 0.8])
def test_a_slow_body_ends_in_time(caller, pause_s):
    """Bytes now and then, or none: the whole body has a time limit, and so has each pause."""
    start = time.monotonic()
    with socket.create_connection((caller.base_url.host, caller.base_url.port)) as slow:
        slow.sendall(
            b"POST /v1/detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\n\r\n"
        )
        slow.settimeout(pause_s)
        answer = b""
        while b"/problems/" not in answer and time.monotonic() - start < 10:
            try:
                answer += slow.recv(65536)
            except TimeoutError:
                slow.sendall(b" ")
    assert answer.startswith(b"HTTP/1.1 408") and b"/problems/slow-body" in answer
    assert time.monotonic() - start < 5


@pytest.fixture(scope="module")
def png():
    from fovea_web.examples import PICTURE

    return PICTURE


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=8,
    ),
    st.sampled_from(["image", "phrases", "box_threshold", "verb", "anything"]),
)
def test_whatever_json_comes_the_answer_is_typed(caller, value, name):
    answer = send(caller, json.dumps({name: value}).encode(), "application/json")
    assert 400 <= answer.status_code < 500
    assert answer.json()["type"].startswith("/problems/")


@pytest.mark.parametrize(
    "body",
    [b'{"\\ud800": 1}', b'{"verb": "\\udfff"}', b'{"phrases": ["\\ud800"], "image": "IMAGE"}'],
)
def test_half_a_surrogate_pair_gets_a_clear_answer(caller, png, body):
    answer = send(caller, body.replace(b"IMAGE", png.encode()), "application/json")
    assert answer.status_code == 422 and answer.json()["detail"]


def test_the_gateway_still_works(caller, png):
    assert detect(caller, png, phrases="cat").status_code == 200
