"""Triton's dynamic batcher in front of a model's instances, as its source has it.

Requests wait in the order in which they came. A batch is released when it is full or when its
oldest request has waited for the delay; until an instance takes it, whoever comes joins it, up
to the largest batch. Without delay that means: an instance that becomes free takes all that wait,
up to the largest batch. (core/src/dynamic_batch_scheduler.cc: GetDynamicBatch, BatcherThread)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
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
    """The queue, the batches and the instances of one step."""

    def __init__(
        self,
        env: simpy.Environment,
        step: Step,
        processor: Processor,
        on_done: Callable[[Step, Request], None],
        on_start: Callable[[Step, Sequence[Request]], None] = lambda step, batch: None,
    ) -> None:
        self.step = step
        self.executions = 0
        self.executing_s = 0.0
        self._env = env
        self._processor = processor
        self._on_done = on_done
        self._on_start = on_start
        self._waiting: deque[tuple[float, Request]] = deque()
        self._released = 0  # of those waiting, from the oldest on
        self._idle = step.instances or float("inf")

    def submit(self, request: Request) -> bool:
        """Put a request at the end of the queue; False when the queue is full."""
        if self.step.max_queue and len(self._waiting) >= self.step.max_queue:
            return False
        self._waiting.append((self._env.now, request))
        if self.step.delay_s == 0 or self._released % self.step.max_batch:
            self._released += 1
        elif len(self._waiting) - self._released >= self.step.max_batch:
            self._released += self.step.max_batch
        elif len(self._waiting) - self._released == 1:
            timeout = self._env.timeout(self.step.delay_s, value=request)
            timeout.callbacks.append(self._delay_over)
        self._start()
        return True

    def _delay_over(self, timeout: simpy.Event) -> None:
        unreleased = len(self._waiting) - self._released
        if unreleased and self._waiting[self._released][1] is timeout.value:
            self._released += unreleased
            self._start()

    def _start(self) -> None:
        while self._idle and self._released:
            size = min(self._released, self.step.max_batch)
            batch = [self._waiting.popleft() for _ in range(size)]
            self._released -= size
            self._execute(batch)

    def _execute(self, batch: list[tuple[float, Request]]) -> None:
        self._idle -= 1
        self.executions += 1
        for queued_at, request in batch:
            request.queued_s += self._env.now - queued_at
        requests = [request for _, request in batch]
        self._on_start(self.step, requests)
        factor = sum(request.factor for request in requests) / len(requests)
        curve = self.step.curve
        seconds, threads = factor * curve.at(len(requests)), curve.threads_at(len(requests))
        self._processor.run(seconds, threads, partial(self._finish, requests, self._env.now))

    def _finish(self, requests: list[Request], started_s: float) -> None:
        self._idle += 1
        self.executing_s += self._env.now - started_s
        self._start()
        for request in requests:
            self._on_done(self.step, request)
