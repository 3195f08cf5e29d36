"""The loads of a run: closed loops over concurrency, open loops over rate, round by round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from itertools import takewhile

import numpy as np
from fovea_client.statistics import ModelStatistics, difference, read_statistics
from fovea_server import EmbeddedServer

from benchmarks import breakdown
from benchmarks.figures import Budget, Spread, percentiles, powers_of_two
from benchmarks.loads import STEADY_ANSWERS, Samples, closed_loop, open_loop, poisson_arrivals
from benchmarks.machine import resident_mb
from benchmarks.order import Scale
from benchmarks.questions import VERBS
from benchmarks.results import Point, TargetResult
from benchmarks.targets import Target

ENSEMBLES = frozenset(verb.name for verb in VERBS)
# A rate is beyond the knee when p95 is this many times that of the lowest rate, …
KNEE_LATENCY = 3.0
# … or when more than this part of its requests fails.
KNEE_FAILURES = 0.05

Spent = dict[str, ModelStatistics]


@dataclass
class _Load:
    """The rounds of one load so far."""

    concurrency: int | None = None
    rate: float | None = None
    runs: list[Samples] = field(default_factory=list)
    spent: list[Spent] = field(default_factory=list)
    cache_hits: int = 0
    memory_mb: float = 0.0

    @property
    def throughput(self) -> float:
        return max((run.throughput for run in self.runs), default=0.0)

    @property
    def p95_ms(self) -> float:
        return Spread.of(percentiles(run.latencies_s)["p95_ms"] for run in self.runs).median

    def measure(self, server: EmbeddedServer, run: Callable[[], Samples]) -> Samples:
        before = read_statistics(server.grpc_url)
        hits_before = breakdown.read_cache_hits(server.metrics_url)
        samples = run()
        self.spent.append(difference(read_statistics(server.grpc_url), before))
        self.cache_hits += breakdown.read_cache_hits(server.metrics_url) - hits_before
        self.memory_mb = max(self.memory_mb, resident_mb(server.pid))
        self.runs.append(samples)
        return samples

    def beyond_knee(self, lowest: _Load) -> bool:
        """Whether many fail, or the median round waits much longer than at the lowest rate."""
        failed = sum(run.failures.total() for run in self.runs)
        answered = sum(len(run.ends_s) for run in self.runs)
        if failed > KNEE_FAILURES * (failed + answered):
            return True
        return self.p95_ms > KNEE_LATENCY * lowest.p95_ms

    def point(self, model: str) -> Point | None:
        """The figures of all rounds; None if nothing was answered."""
        answered = [run for run in self.runs if len(run.ends_s)]
        if not answered:
            return None
        latencies = np.concatenate([run.latencies_s for run in answered])
        count, mean_s = len(latencies), float(latencies.mean())
        spent = reduce(_plus, self.spent)
        cuts = [percentiles(run.latencies_s) for run in answered]
        alone = self.concurrency == 1
        return Point(
            concurrency=self.concurrency,
            rate=self.rate,
            requests=count,
            failures=dict(sum((run.failures for run in self.runs), Counter())),
            throughput=Spread.of(run.throughput for run in answered),
            **{name: Spread.of(cut[name] for cut in cuts) for name in cuts[0]},
            split_ms=breakdown.split_ms(model, spent, ENSEMBLES, mean_s),
            steps_ms=breakdown.steps_ms(spent, count, ENSEMBLES),
            batches=breakdown.mean_batches(spent),
            overhead_share=breakdown.overhead_share(spent, count, mean_s) if alone else None,
            cache_hits=self.cache_hits,
            memory_mb=self.memory_mb,
        )


def _plus(one: Spent, other: Spent) -> Spent:
    none = ModelStatistics()
    return {name: one.get(name, none).plus(other.get(name, none)) for name in one | other}


class Sweep:
    """Closed and open loops on targets; each round covers all of them."""

    def __init__(
        self,
        server: EmbeddedServer,
        targets: Sequence[Target],
        scale: Scale,
        say: Callable[[str], None],
    ) -> None:
        self._server, self._targets, self._scale, self._say = server, targets, scale, say
        self._closed: dict[str, dict[int, _Load]] = {target.key: {} for target in targets}
        self._open: dict[str, dict[float, _Load]] = {target.key: {} for target in targets}

    def close_loops(self, budget: Budget) -> None:
        """All levels of concurrency that the time allows."""
        for index in range(self._scale.rounds):
            for target in self._targets:
                self._closed_round(target, index, budget)

    def _closed_round(self, target: Target, index: int, budget: Budget) -> None:
        per_answer_s = target.seconds
        for concurrency in powers_of_two(self._scale.largest):
            at_least = concurrency * (STEADY_ANSWERS if per_answer_s < 1 else 1)
            what = f"{target.key}: {concurrency} callers, round {index + 1}"
            if not budget.allows(max(self._scale.point_s, at_least * per_answer_s), what):
                return
            self._say(what)
            load = self._closed[target.key].setdefault(concurrency, _Load(concurrency=concurrency))
            asking = partial(
                closed_loop,
                target.call,
                concurrency,
                seconds=self._scale.point_s,
                at_least=at_least,
            )
            run = load.measure(self._server, asking)
            per_answer_s = 1 / run.throughput if run.throughput else budget.left_s

    def open_loops(self, budget: Budget) -> None:
        """Rates up to the first beyond the knee, in each round the same ones."""
        for index in range(self._scale.rounds):
            for target in self._targets:
                self._open_round(target, index, budget)

    def _open_round(self, target: Target, index: int, budget: Budget) -> None:
        peak = max((load.throughput for load in self._closed[target.key].values()), default=0.0)
        if not peak:
            return  # none was answered, and the report shows the failures
        loads = self._open[target.key]
        for rate in [*loads] if index else [part * peak for part in self._scale.rates]:
            seconds = max(self._scale.point_s, self._scale.arrivals / rate)
            what = f"{target.key}: {rate:.3g} requests a second, round {index + 1}"
            if not budget.allows(1.5 * seconds, what):
                return
            self._say(what)
            load = loads.setdefault(rate, _Load(rate=rate))
            arrivals = poisson_arrivals(rate, seconds, (0, index))
            load.measure(self._server, partial(open_loop, target.call, arrivals))
            if not index and load.beyond_knee(next(iter(loads.values()))):
                return

    def results(self) -> list[TargetResult]:
        """What was found of each target."""
        return [self._result(target) for target in self._targets]

    def _result(self, target: Target) -> TargetResult:
        closed = [load.point(target.name) for load in self._closed[target.key].values()]
        loads = self._open[target.key]
        opened = [load.point(target.name) for load in loads.values()]
        return TargetResult(
            kind=target.kind,
            name=target.name,
            request_bytes=target.request_bytes,
            response_bytes=target.response_bytes,
            closed=[point for point in closed if point],
            open=[point for point in opened if point],
            knee_per_s=_knee(loads),
        )


def _knee(loads: dict[float, _Load]) -> float | None:
    """The highest rate before the first that is beyond the knee."""
    lowest = next(iter(loads.values()), _Load())
    fine = takewhile(lambda rate: not loads[rate].beyond_knee(lowest), loads)
    return max(fine, default=None)
