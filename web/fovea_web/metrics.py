"""The gateway's counters, for Prometheus."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response
from starlette.types import Scope

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# A path without a route is the caller's text, so it must not become a label.
UNMATCHED = "unmatched"


class Metrics:
    """The counters of one gateway, in their own registry."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("route", "method", "status")
        self._requests = Counter(
            "fovea_web_requests", "Requests answered.", labels, registry=self._registry
        )
        self._seconds = Histogram(
            "fovea_web_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ("route",),
            buckets=SECONDS,
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "fovea_web_in_flight", "Requests under way.", registry=self._registry
        )
        self._bytes = Counter(
            "fovea_web_body_bytes", "Bytes of bodies.", ("direction",), registry=self._registry
        )

    def observe(self, scope: Scope, status: int, seconds: float, came: int, sent: int) -> None:
        """Count a finished request; status 0 is one without an answer."""
        route = getattr(scope.get("route"), "path", UNMATCHED)
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else "other"
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        self._bytes.labels("in").inc(came)
        self._bytes.labels("out").inc(sent)

    def response(self) -> Response:
        """The counters in Prometheus' own text format."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)
