"""Estimates from Triton's own metrics how long requests wait behind the first step.

An ensemble has no queue of its own, and a step behind the first one must never refuse (see
`deployment.Queues`). If decoding is faster than a network, requests would pile up in front of that
network without bound, each waiting for all before it. So the first step checks the queues behind
it, and accepts nothing while they hold more than can be answered in time.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

log = logging.getLogger(__name__)

# The launcher sets this variable to the address of the metrics.
METRICS_URL = "FOVEA_METRICS_URL"
# Reading the metrics takes some milliseconds: this many requests are taken between two reads.
LOOK_EVERY = 32
# While there is no room, the next read comes after this many seconds.
LOOK_AGAIN_S = 0.1
# Weight of older measurements against newer ones.
FADING = 0.5
_TIMEOUT_S = 1.0
_SERIES = re.compile(
    rb"^nv_inference_(pending_request_count|request_success|exec_count|compute_infer_duration_us)"
    rb'\{([^}]*\bmodel="([^"]+)"[^}]*)\} (\S+)',
    re.MULTILINE,
)
_DEVICE = re.compile(rb'\bgpu_uuid="([^"]+)"')


@dataclass(frozen=True)
class Work:
    """What a model did.

    compute_s sums over requests: each counts the whole execution that it was part of.
    """

    requests: float = 0.0
    executions: float = 0.0
    compute_s: float = 0.0

    def plus(self, other: Work, *, times: float = 1.0) -> Work:
        """The sum; `other` counts `times`."""
        return Work(
            self.requests + times * other.requests,
            self.executions + times * other.executions,
            self.compute_s + times * other.compute_s,
        )

    @property
    def request_s(self) -> float:
        """Seconds of one instance for a request: an execution's time over its requests."""
        if not (self.requests and self.executions):
            return 0.0
        execution_s = self.compute_s / self.requests
        return execution_s / (self.requests / self.executions)


@dataclass(frozen=True)
class Load:
    """A model's figures on /metrics.

    waiting: requests in its queue. work: since it was loaded. devices: GPUs that run it, 0 on the
    CPU.
    """

    waiting: float = 0.0
    work: Work = Work()
    devices: int = 0


Read = Callable[[], Mapping[str, Load]]


class Backlog:
    """Whether there is room behind the first step; thread-safe.

    read: returns the load of each model. limit: how many requests may wait for one model; each
    process may exceed it by LOOK_EVERY between two reads. instances: of each model, on each device;
    1 for models that are not listed.

    A network's time for a request comes from recent measurements. Before its first run, only
    `limit` bounds its queue.
    """

    def __init__(
        self,
        read: Read,
        limit: int,
        instances: Mapping[str, int] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._limit = limit
        self._instances = instances or {}
        self._clock = clock
        self._lock = threading.Lock()
        self._loads: Mapping[str, Load] = {}
        self._recent: dict[str, Work] = {}
        self._taken: Counter[str] = Counter()
        self._taken_in_all = LOOK_EVERY
        self._looked_at = clock()

    def room_for(self, models: Collection[str], patience_s: float = float("inf")) -> bool:
        """Whether a request that runs these models may be taken; if so, it counts as taken.

        patience_s: how long the caller would wait for one of them.
        """
        with self._lock:
            if self._taken_in_all >= LOOK_EVERY:
                self._look()
            room = self._has_room(models, patience_s)
            if not room and self._clock() - self._looked_at >= LOOK_AGAIN_S:
                self._look()
                room = self._has_room(models, patience_s)
            if room:
                self._taken.update(models)
                self._taken_in_all += 1
            return room

    def _has_room(self, models: Collection[str], patience_s: float) -> bool:
        return all(
            self._loads.get(model, Load()).waiting < self._limit
            and self._wait_s(model) <= patience_s
            for model in models
        )

    def _wait_s(self, model: str) -> float:
        """Seconds that a new request would wait: for those at the last read and those since."""
        load = self._loads.get(model, Load())
        at_once = self._instances.get(model, 1) * max(load.devices, 1)
        request_s = self._recent.get(model, Work()).request_s
        return (load.waiting + self._taken[model]) * request_s / at_once

    def _look(self) -> None:
        before, self._loads = self._loads, self._read()
        for model, load in self._loads.items():
            done = load.work.plus(before.get(model, Load()).work, times=-1)
            if done.executions < 0:  # reloaded: it counts from zero
                done = load.work
            if done.executions:
                self._recent[model] = done.plus(self._recent.get(model, Work()), times=FADING)
        self._taken.clear()
        self._taken_in_all, self._looked_at = 0, self._clock()


def read_loads() -> dict[str, Load]:
    """The load of each model; empty if FOVEA_METRICS_URL is unset or unreachable."""
    url = os.environ.get(METRICS_URL)
    if not url:
        return {}
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            return parse_loads(answer.read())
    except OSError as error:
        log.warning("no metrics at %s, the backlog is unknown: %s", url, error)
        return {}


def parse_loads(metrics: bytes) -> dict[str, Load]:
    """The load of each model, from Prometheus' text format.

    On a GPU a model has a series for each device beside one without; they are summed. One regular
    expression is enough, as Triton's labels have no escapes, and reading must be quick.
    """
    loads: dict[str, Load] = {}
    devices: dict[str, set[bytes]] = {}
    for family, labels, name, number in _SERIES.findall(metrics):
        model, value = name.decode(), float(number)
        load = loads.setdefault(model, Load())
        devices.setdefault(model, set()).update(_DEVICE.findall(labels))
        if family == b"pending_request_count":
            loads[model] = replace(load, waiting=load.waiting + value)
        else:
            loads[model] = replace(load, work=load.work.plus(_work(family, value)))
    return {model: replace(load, devices=len(devices[model])) for model, load in loads.items()}


def _work(family: bytes, value: float) -> Work:
    if family == b"request_success":
        return Work(requests=value)
    if family == b"exec_count":
        return Work(executions=value)
    return Work(compute_s=value / 1e6)
