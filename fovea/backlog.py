"""How many requests wait behind the first step, as Triton's own metrics tell it.

An ensemble has no queue of its own, and a step behind the first one must never refuse (see
`pipeline.Queues`). Where decoding is faster than a network, requests would therefore pile up in
front of that network without bound, and each would wait for all of those before it. So the first
step looks behind itself, and takes no more while too much is waiting there.
"""

from __future__ import annotations

import logging
import os
import re
import time
import urllib.request
from collections.abc import Callable, Collection, Mapping

log = logging.getLogger(__name__)

# The launcher tells the server's processes here where the metrics are.
METRICS_URL = "FOVEA_METRICS_URL"
# A look costs some milliseconds: so many requests are taken between two.
LOOK_EVERY = 32
# While too much waits, the next look comes after this many seconds.
LOOK_AGAIN_S = 0.1
_TIMEOUT_S = 1.0
_PENDING = re.compile(
    rb'^nv_inference_pending_request_count\{[^}]*model="([^"]+)"[^}]*\} (\d+)', re.MULTILINE
)

Read = Callable[[], Mapping[str, int]]


class Backlog:
    """Whether there is room behind the first step.

    read: returns how many requests wait for each model. limit: so many may wait for one model;
    with LOOK_EVERY between two looks of each process it may be exceeded by as many.
    """

    def __init__(
        self, read: Read, limit: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._limit = limit
        self._clock = clock
        self._waiting: Mapping[str, int] = {}
        self._taken = 0
        self._looked_at = clock()

    def room_for(self, models: Collection[str]) -> bool:
        """Whether a request that runs these models may be taken; it counts as taken if so."""
        if self._is_stale():
            self._waiting, self._taken, self._looked_at = self._read(), 0, self._clock()
        room = all(self._waiting.get(model, 0) < self._limit for model in models)
        self._taken += room
        return room

    def _is_stale(self) -> bool:
        tight = any(number >= self._limit for number in self._waiting.values())
        late = self._clock() - self._looked_at >= LOOK_AGAIN_S
        return self._taken >= LOOK_EVERY or (tight and late)


def read_pending() -> dict[str, int]:
    """Requests waiting per model; empty where the launcher has not told, or nobody answers."""
    url = os.environ.get(METRICS_URL)
    if not url:
        return {}
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            return parse_pending(answer.read())
    except OSError as error:
        log.warning("no metrics at %s, the backlog is unknown: %s", url, error)
        return {}


def parse_pending(metrics: bytes) -> dict[str, int]:
    """Requests waiting per model, out of Prometheus' text format."""
    return {match[1].decode(): int(match[2]) for match in _PENDING.finditer(metrics)}
