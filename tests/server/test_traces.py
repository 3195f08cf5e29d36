"""OpenTelemetry traces by flag."""

import time

import numpy as np
import pytest
from fovea_server import EmbeddedServer

from deploy.otlp import Collector

from . import graphs
from .conftest import CACHE, ENSEMBLE
from .requests import infer

pytestmark = pytest.mark.server

X = np.ones((1, 4), np.float32)
WITHIN_S = 30


def test_a_trace_follows_an_ensemble_into_its_step(tmp_path, options):
    graphs.add_linear(tmp_path, "cached", extra=CACHE)
    graphs.add_ensemble(tmp_path, "ensemble", ENSEMBLE)
    with (
        Collector() as collector,
        EmbeddedServer(options(tmp_path, trace_url=collector.url, trace_rate=1)) as server,
    ):
        infer(server.grpc_url, "ensemble", {"x": X})
        deadline = time.monotonic() + WITHIN_S
        while not (models := collector.models_of_trace("ensemble")):
            assert time.monotonic() < deadline, "no trace came"
            time.sleep(0.1)
    assert models == {"ensemble", "cached"}
    step = next(span for span in collector.spans if span["name"] == "cached")
    assert {"REQUEST_START", "QUEUE_START"} <= {event["name"] for event in step["events"]}


def test_a_request_of_a_trace_is_part_of_it_whatever_the_rate(tmp_path, options):
    graphs.add_linear(tmp_path, "cached", extra=CACHE)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with (
        Collector() as collector,
        EmbeddedServer(options(tmp_path, trace_url=collector.url, trace_rate=1000)) as server,
    ):
        headers = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        infer(server.grpc_url, "cached", {"x": X}, headers=headers)
        deadline = time.monotonic() + WITHIN_S
        while not collector.spans:
            assert time.monotonic() < deadline, "no trace came"
            time.sleep(0.1)
    assert {span["traceId"].lower() for span in collector.spans} == {trace}


def test_nothing_is_traced_by_default(tmp_path, options):
    assert options(tmp_path).trace_url is None
