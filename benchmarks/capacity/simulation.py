"""One machine under load: requests go through the steps of a verb, batchers and processors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import simpy
from numpy.typing import NDArray

from benchmarks.capacity.batcher import Batcher, Request
from benchmarks.capacity.processor import Processor
from benchmarks.capacity.service_times import CPU, GPU, ServiceTimes, Step

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Simulated:
    """What one simulated machine did.

    latencies_s: of each answered request, in the order of arrival. queue_s: waiting in all
    queues, mean of a request, as `fovea:queue_seconds_per_request` counts it. utilisation: of
    the busier of processor and GPU. execution_s: of an execution, by step. rate: answers per second
    while the load was on. batches: the requests of each execution, by step. refused: requests that
    found a queue full.
    """

    latencies_s: Floats
    queue_s: float
    utilisation: float
    execution_s: dict[str, float]
    rate: float
    batches: dict[str, list[list[int]]]
    refused: int = 0

    @property
    def p50_s(self) -> float:
        return float(np.quantile(self.latencies_s, 0.5))

    @property
    def p99_s(self) -> float:
        return float(np.quantile(self.latencies_s, 0.99))


def open_loop(
    times: ServiceTimes, arrivals_s: Floats, *, seed: int = 0, warm_up: int = 0
) -> Simulated:
    """Requests arrive when they arrive, answered or not; the first `warm_up` are not counted."""
    machine = _Machine(times, len(arrivals_s), seed)

    def arrivals() -> simpy.events.ProcessGenerator:
        for gap in np.diff(arrivals_s, prepend=0.0).tolist():
            yield machine.env.timeout(gap)
            machine.arrive()

    machine.env.process(arrivals())
    machine.env.run()
    return machine.load(warm_up)


def closed_loop(times: ServiceTimes, *, concurrency: int, count: int, seed: int = 0) -> Simulated:
    """So many callers, each asking again as soon as it is answered."""
    machine = _Machine(times, count, seed)
    machine.ask_again = count - concurrency
    for _ in range(concurrency):
        machine.arrive()
    machine.env.run()
    return machine.load(warm_up=min(2 * concurrency, count // 4), cool_down=concurrency)


def capacity(times: ServiceTimes, *, count: int = 3000, seed: int = 0) -> float:
    """Requests per second that one machine answers when there is always work."""
    largest = max(step.max_batch for step in times.steps)
    return closed_loop(times, concurrency=4 * largest, count=count, seed=seed).rate


class _Machine:
    def __init__(self, times: ServiceTimes, requests: int, seed: int) -> None:
        self.env, self.ask_again = simpy.Environment(), 0
        # What each request's times are multiplied by, drawn from the measured spread.
        places = np.linspace(0, 1, len(times.spread))
        drawn = np.random.default_rng(seed + 1).random(requests)
        self._factors = np.interp(drawn, places, times.spread)
        self._answered: list[tuple[Request, float]] = []
        self._arrived = self._refused = 0
        self._cores = {CPU: times.cores, GPU: 1}
        self._processors = {
            place: Processor(self.env, cores, times.contention)
            for place, cores in self._cores.items()
        }
        self._batchers = {
            step.model: Batcher(self.env, step, self._processors[step.place], self._step_done)
            for step in times.steps
        }
        self._needs = {step.model: len(step.after) for step in times.steps if step.after}
        self._first = [step.model for step in times.steps if not step.after]
        self._next = {
            step.model: [other.model for other in times.steps if step.model in other.after]
            for step in times.steps
        }

    def arrive(self) -> None:
        number, self._arrived = self._arrived, self._arrived + 1
        request = Request(number, self.env.now, float(self._factors[number]))
        request.missing = {**self._needs, "": len(self._batchers)}
        for model in self._first:
            self._submit(model, request)

    def _submit(self, model: str, request: Request) -> None:
        if not self._batchers[model].submit(request):
            self._refused += 1

    def _step_done(self, step: Step, request: Request) -> None:
        for model in self._next[step.model]:
            request.missing[model] -= 1
            if request.missing[model] == 0:
                self._submit(model, request)
        request.missing[""] -= 1
        if request.missing[""] == 0:
            self._answered.append((request, self.env.now - request.arrived_s))
            if self.ask_again:
                self.ask_again -= 1
                self.arrive()

    def load(self, warm_up: int, cool_down: int = 0) -> Simulated:
        """What happened, without the first requests; `cool_down` answers do not count as a rate."""
        kept = [pair for pair in self._answered if pair[0].number >= warm_up]
        kept.sort(key=lambda pair: pair[0].number)
        ran = {name: batcher for name, batcher in self._batchers.items() if batcher.batches}
        return Simulated(
            latencies_s=np.array([latency for _, latency in kept]),
            queue_s=float(np.mean([request.queued_s for request, _ in kept])) if kept else 0.0,
            utilisation=max(
                self._processors[place].busy_core_s() / (cores * self.env.now)
                for place, cores in self._cores.items()
            ),
            execution_s={name: b.executing_s / len(b.batches) for name, b in ran.items()},
            rate=self._rate(warm_up, cool_down),
            batches={name: batcher.batches for name, batcher in ran.items()},
            refused=self._refused,
        )

    def _rate(self, warm_up: int, cool_down: int) -> float:
        """Answers per second between those at the edges, where callers begin and run out."""
        ends = [request.arrived_s + latency for request, latency in self._answered]
        first, last = warm_up, len(ends) - cool_down - 1
        if last <= first or ends[last] <= ends[first]:
            return len(ends) / self.env.now if self.env.now else 0.0
        return (last - first) / (ends[last] - ends[first])
