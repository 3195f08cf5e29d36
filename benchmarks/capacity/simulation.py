"""One machine under load: arrivals go through the steps of a verb, batchers and processors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import simpy
from numpy.typing import NDArray

from benchmarks.capacity.batcher import Batcher, Request
from benchmarks.capacity.processor import Processor
from benchmarks.capacity.service_times import CPU, GPU, ServiceTimes, Step

Floats = NDArray[np.float64]
OnStart = Callable[[Step, Sequence[Request]], None]


@dataclass(frozen=True)
class Load:
    """What one simulated machine did.

    latencies_s: of each answered request, in the order of arrival. queue_s: waiting in all
    queues, mean of a request, as `fovea:queue_seconds_per_request` counts it. utilisation: of
    the busier of processor and GPU. mean_batch, execution_s: of an execution, by step. rate:
    answers per second while the load was on. refused: requests that found a queue full.
    """

    latencies_s: Floats
    queue_s: float
    utilisation: float
    utilisations: dict[str, float]
    mean_batch: dict[str, float]
    execution_s: dict[str, float]
    rate: float
    refused: int = 0

    @property
    def p50_s(self) -> float:
        return float(np.quantile(self.latencies_s, 0.5))

    @property
    def p99_s(self) -> float:
        return float(np.quantile(self.latencies_s, 0.99))


def open_loop(
    times: ServiceTimes,
    arrivals_s: Floats,
    *,
    seed: int = 0,
    warm_up: int = 0,
    on_start: OnStart = lambda step, batch: None,
) -> Load:
    """Requests arrive when they arrive, answered or not; the first `warm_up` are not counted."""
    machine = _Machine(times, _factors(times, len(arrivals_s), seed), on_start)
    machine.expect(arrivals_s)
    machine.env.run()
    return machine.load(warm_up)


def closed_loop(times: ServiceTimes, *, concurrency: int, count: int, seed: int = 0) -> Load:
    """So many callers, each asking again as soon as it is answered."""
    machine = _Machine(times, _factors(times, count, seed))
    machine.ask_again = count - concurrency
    for _ in range(concurrency):
        machine.arrive()
    machine.env.run()
    return machine.load(warm_up=min(2 * concurrency, count // 4), cool_down=concurrency)


def capacity(times: ServiceTimes, *, count: int = 3000, seed: int = 0) -> float:
    """Requests per second that one machine answers when there is always work."""
    largest = max(step.max_batch for step in times.steps)
    return closed_loop(times, concurrency=4 * largest, count=count, seed=seed).rate


def _factors(times: ServiceTimes, count: int, seed: int) -> Floats:
    """What each request's times are multiplied by, drawn from the measured spread."""
    places = np.linspace(0, 1, len(times.spread))
    drawn = np.random.default_rng(seed + 1).random(count)
    return np.interp(drawn, places, times.spread)


@dataclass
class _Machine:
    times: ServiceTimes
    factors: Floats
    on_start: OnStart = lambda step, batch: None
    ask_again: int = 0
    env: simpy.Environment = field(default_factory=simpy.Environment)
    answered: list[tuple[Request, float]] = field(default_factory=list)
    arrived: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        times = self.times
        self.processors = {
            CPU: Processor(self.env, times.cores, times.contention),
            GPU: Processor(self.env, 1, times.contention),
        }
        self.batchers = {
            step.model: Batcher(
                self.env, step, self.processors[step.place], self._step_done, self.on_start
            )
            for step in times.steps
        }
        self.needs = {step.model: len(step.after) for step in times.steps if step.after}
        self.first = [step.model for step in times.steps if not step.after]
        self.next: dict[str, list[str]] = {step.model: [] for step in times.steps}
        for step in times.steps:
            for model in step.after:
                self.next[model].append(step.model)

    def expect(self, arrivals_s: Floats) -> None:
        """Let requests arrive at these times, ascending."""
        gaps = np.diff(arrivals_s, prepend=0.0)

        def arrivals() -> simpy.events.ProcessGenerator:
            for gap in gaps.tolist():
                yield self.env.timeout(gap)
                self.arrive()

        self.env.process(arrivals())

    def arrive(self) -> None:
        number, self.arrived = self.arrived, self.arrived + 1
        request = Request(number, self.env.now, float(self.factors[number]))
        request.missing = {**self.needs, "": len(self.batchers)}
        for model in self.first:
            self._submit(model, request)

    def _submit(self, model: str, request: Request) -> None:
        if not self.batchers[model].submit(request):
            self.refused += 1

    def _step_done(self, step: Step, request: Request) -> None:
        for model in self.next[step.model]:
            request.missing[model] -= 1
            if request.missing[model] == 0:
                self._submit(model, request)
        request.missing[""] -= 1
        if request.missing[""] == 0:
            self.answered.append((request, self.env.now - request.arrived_s))
            if self.ask_again:
                self.ask_again -= 1
                self.arrive()

    def load(self, warm_up: int, cool_down: int = 0) -> Load:
        """What happened, without the first requests; `cool_down` answers do not count as a rate."""
        kept = sorted(
            ((r, latency) for r, latency in self.answered if r.number >= warm_up),
            key=lambda pair: pair[0].number,
        )
        duration = self.env.now
        capacity_s = {CPU: self.times.cores * duration, GPU: duration}
        ran = {name: batcher for name, batcher in self.batchers.items() if batcher.executions}
        used = {p: self.processors[p].busy_core_s() / capacity_s[p] for p in self.processors}
        return Load(
            latencies_s=np.array([latency for _, latency in kept]),
            queue_s=float(np.mean([r.queued_s for r, _ in kept])) if kept else 0.0,
            utilisation=max(used.values()),
            utilisations=used,
            mean_batch={name: b.requests / b.executions for name, b in ran.items()},
            execution_s={name: b.executing_s / b.executions for name, b in ran.items()},
            rate=self._rate(warm_up, cool_down),
            refused=self.refused,
        )

    def _rate(self, warm_up: int, cool_down: int) -> float:
        """Answers per second between those at the edges, where callers begin and run out."""
        ends = [request.arrived_s + latency for request, latency in self.answered]
        first, last = warm_up, len(ends) - cool_down - 1
        if last <= first or ends[last] <= ends[first]:
            return len(ends) / self.env.now if self.env.now else 0.0
        return (last - first) / (ends[last] - ends[first])
