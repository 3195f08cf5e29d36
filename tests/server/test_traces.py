"""OpenTelemetry traces by flag."""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from fovea_server import EmbeddedServer

from . import graphs
from .conftest import CACHE, ENSEMBLE
from .requests import infer

pytestmark = pytest.mark.server

X = np.ones((1, 4), np.float32)


@pytest.fixture
def collector():
    """An OTLP/HTTP collector: its address, and a queue of the spans that came."""
    spans: queue.Queue = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for resource in body["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        spans.put(span)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    server.shutdown()


def test_a_trace_follows_an_ensemble_into_its_step(tmp_path, options, collector):
    url, spans = collector
    graphs.add_linear(tmp_path, "cached", extra=CACHE)
    graphs.add_ensemble(tmp_path, "ensemble", ENSEMBLE)
    with EmbeddedServer(options(tmp_path, trace_url=url, trace_rate=1)) as server:
        infer(server.grpc_url, "ensemble", {"x": X})
        found = {}
        while "ensemble" not in found or "cached" not in found:
            span = spans.get(timeout=20)
            found[span["name"]] = span
    assert found["cached"]["traceId"] == found["ensemble"]["traceId"]
    events = [event["name"] for event in found["cached"]["events"]]
    assert events[0] == "REQUEST_START" and "QUEUE_START" in events
