"""Serves the demo under load and watches it as in production, by Prometheus and a collector."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fovea_client import Client

from demo.samples import FOLDER as SAMPLES
from demo.served import demo_server
from deploy import dashboard
from deploy.otlp import Collector
from deploy.prometheus import Prometheus

LABELS = ("cat", "dog", "van", "man")
_CLIENTS = 2
_LOOK_EVERY_S = 1.0
# A request to main_object runs this verb, apart from the call of the text encoder.
TRACED = "main_object"


@dataclass(frozen=True)
class Seen:
    """The result.

    Attributes:
        answers: dashboard query -> number of series that it returned.
        firing: names of the alerts that fired.
        traced: the models of one traced request to main_object.
        requests: the load's number of requests.
        seconds: until every query had an answer.
    """

    answers: dict[str, int]
    firing: list[str]
    traced: set[str]
    requests: int
    seconds: float


def watch(*, within_s: float = 90.0) -> Seen:
    """Serve the demo under load until every dashboard query has data, or the time is up."""
    with (
        Collector() as collector,
        demo_server(exit_timeout_s=5, trace_url=collector.url, trace_rate=1) as server,
    ):
        target = server.metrics_url.removeprefix("http://").removesuffix("/metrics")
        with Prometheus(target) as prometheus, _load(server.grpc_url) as done:
            began = time.monotonic()
            while True:
                answers = {
                    name: len(prometheus.query(query))
                    for name, query in dashboard.queries(gpu=False).items()
                }
                traced = collector.models_of_trace(TRACED)
                seconds = time.monotonic() - began
                if (all(answers.values()) and len(traced) > 1) or seconds > within_s:
                    break
                time.sleep(_LOOK_EVERY_S)
            alerts = prometheus.query('ALERTS{alertstate="firing"}')
    firing = sorted({series["metric"]["alertname"] for series in alerts})
    return Seen(answers, firing, traced, next(done), seconds)


@contextmanager
def _load(url: str) -> Iterator["itertools.count[int]"]:
    """Clients that call every verb in turn; counts their requests."""
    stop, done = threading.Event(), itertools.count()
    pictures = sorted(SAMPLES.glob("*.jpg"))

    def ask() -> None:
        with Client(url, timeout_s=60) as client:
            for picture in itertools.cycle(pictures):
                for request in _requests(client, picture):
                    if stop.is_set():
                        return
                    request()
                    next(done)

    threads = [threading.Thread(target=ask) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _requests(client: Client, picture: Path) -> Iterator:
    yield lambda: client.main_object(picture, list(LABELS))
    yield lambda: client.segment(picture, points=[(20, 20)])
    yield lambda: client.segment(picture, points=[(40, 40)])
    yield lambda: client.detect(picture, "cat. dog")
    yield lambda: client.detect_and_segment(picture, "cat. dog")
    yield lambda: client.embed_image(picture)
    yield lambda: client.embed_text("a cat")
