"""A collector of OpenTelemetry traces for one machine: enough to see what a server sends."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

Span = dict[str, Any]


class Collector:
    """OTLP over HTTP with JSON, as tritonserver sends it, on a free loopback port.

    Attributes:
        url: the address for `ServerOptions.trace_url`.
        spans: those received so far.
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def __enter__(self) -> "Collector":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def models_of_trace(self, root: str) -> set[str]:
        """The models in the first complete trace of a request to `root`; empty if none has come."""
        for span in list(self.spans):
            if span["name"] == root:
                trace = [s for s in list(self.spans) if s["traceId"] == span["traceId"]]
                return {name for s in trace if (name := _model(s))}
        return set()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                for resource in body["resourceSpans"]:
                    for scope in resource["scopeSpans"]:
                        spans.extend(scope["spans"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        return Handler


def _model(span: Span) -> str | None:
    for attribute in span.get("attributes", ()):
        if attribute["key"] == "triton.model_name":
            return str(attribute["value"]["stringValue"])
    return None
