"""W3C trace context on its way to Triton; `tests/server/test_traces.py` tests the rest."""

import pytest
from fovea_web import trace
from fovea_web.settings import Settings
from hypothesis import given
from hypothesis import strategies as st

from tests.web.conftest import asking

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


def test_each_call_carries_the_trace_of_its_request(triton):
    with asking(Settings(url=triton.url)) as caller:
        for headers in ({"traceparent": PARENT, "tracestate": "vendor=1"}, {}):
            caller.post("/v1/embed-text", json={"text": "a"}, headers=headers)
            sent = triton.calls[-1].metadata
            assert sent.get("traceparent") == headers.get("traceparent")
            assert sent.get("tracestate") == headers.get("tracestate")


def test_lines_of_a_batch_carry_it_too(triton):
    with asking(Settings(url=triton.url)) as caller:
        body = b'{"text": "a"}\n{"text": "b"}\n'
        caller.post("/v1/batch/embed-text", content=body, headers={"traceparent": PARENT})
    assert [call.metadata["traceparent"] for call in triton.calls] == [PARENT, PARENT]


@pytest.mark.parametrize(
    "parent",
    [
        "",
        PARENT.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"{PARENT}-more",
    ],
)
def test_an_invalid_trace_is_not_passed_on(parent):
    trace.follow({"traceparent": parent, "tracestate": "vendor=1"})
    assert trace.current() == {}


@given(st.text(), st.text())
def test_nothing_but_what_gRPC_can_carry_is_passed_on(parent, state):  # noqa: N802
    trace.follow({"traceparent": parent or PARENT, "tracestate": state})
    assert all(value.isascii() and value.isprintable() for value in trace.current().values())
