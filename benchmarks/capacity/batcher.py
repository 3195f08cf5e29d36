"""Triton's dynamic batcher in front of a model's instances, as its source code describes it.

Requests wait in order of arrival. An instance that becomes free takes all that wait, up to the
largest batch: no repository of this project sets a batching delay.
(core/src/dynamic_batch_scheduler.cc: GetDynamicBatch, BatcherThread)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import simpy

from benchmarks.capacity.processor import Processor
from benchmarks.capacity.service_times import Step


@dataclass
class Request:
    """One request on its way. factor: what its own service times are multiplied by."""

    number: int
    arrived_s: float
    factor: float = 1.0
    queued_s: float = 0.0
    missing: dict[str, int] = field(default_factory=dict)


class Batcher:
    """The queue and the instances of one step.

    batches: the numbers of the requests of each execution, in the order in which they began.
    """

    def __init__(
        self,
        env: simpy.Environment,
        step: Step,
        processor: Processor,
        on_done: Callable[[Step, Request], None],
    ) -> None:
        self.step = step
        self.batches: list[list[int]] = []
        self.executing_s = 0.0
        self._env, self._processor, self._on_done = env, processor, on_done
        self._waiting: deque[tuple[float, Request]] = deque()
        self._idle = step.instances or float("inf")

    def submit(self, request: Request) -> bool:
        """Put a request at the end of the queue; False when the queue is full."""
        if self.step.max_queue and len(self._waiting) >= self.step.max_queue:
            return False
        self._waiting.append((self._env.now, request))
        self._start()
        return True

    def _start(self) -> None:
        while self._idle and self._waiting:
            size = min(len(self._waiting), self.step.max_batch)
            self._execute([self._waiting.popleft() for _ in range(size)])

    def _execute(self, batch: list[tuple[float, Request]]) -> None:
        self._idle -= 1
        for queued_at, request in batch:
            request.queued_s += self._env.now - queued_at
        requests = [request for _, request in batch]
        self.batches.append([request.number for request in requests])
        size, curve = len(requests), self.step.curve
        seconds = curve.at(size) * sum(request.factor for request in requests) / size
        done = partial(self._finish, requests, self._env.now)
        self._processor.run(seconds, curve.threads_at(size), done)

    def _finish(self, requests: list[Request], started_s: float) -> None:
        self._idle += 1
        self.executing_s += self._env.now - started_s
        self._start()
        for request in requests:
            self._on_done(self.step, request)
