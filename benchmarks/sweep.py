"""The loads of a run: closed loops over concurrency, open loops over rate, round by round."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from fovea_client.statistics import ModelStatistics, difference, read_statistics

from benchmarks import breakdown
from benchmarks.budget import Budget, powers_of_two
from benchmarks.loads import STEADY_ANSWERS, Samples, closed_loop, open_loop, poisson_arrivals
from benchmarks.questions import VERBS
from benchmarks.results import Point, TargetResult
from benchmarks.spread import Spread, percentiles
from benchmarks.targets import Target

ENSEMBLES = frozenset(verb.name for verb in VERBS)
# Parts of the highest throughput of the closed loops that are offered in the open ones.
RATES = (0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1)
# A rate is behind the knee when p95 is this many times that of the lowest rate, …
KNEE_LATENCY = 3.0
# … or when more than this part of its requests fails.
KNEE_FAILURES = 0.05


@dataclass(frozen=True)
class Server:
    """Where Triton's statistics come from, and what its processes hold in memory."""

    url: str
    memory_mb: Callable[[], float]


@dataclass(frozen=True)
class SweepSettings:
    """rounds: repetitions. point_s: seconds of one load, at least. arrivals: of one open loop, at
    least, on average. largest: concurrency."""

    rounds: int
    point_s: float
    arrivals: int = 30
    largest: int = 64
    seed: int = 0


@dataclass
class _Load:
    """The rounds of one load so far."""

    concurrency: int | None = None
    rate: float | None = None
    runs: list[Samples] = field(default_factory=list)
    spent: list[dict[str, ModelStatistics]] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)

    @property
    def throughput(self) -> float:
        return max((run.throughput for run in self.runs), default=0.0)

    def measure(self, server: Server, run: Callable[[], Samples]) -> Samples:
        before = read_statistics(server.url)
        samples = run()
        self.spent.append(difference(read_statistics(server.url), before))
        self.runs.append(samples)
        self.memory_mb.append(server.memory_mb())
        return samples

    def point(self, model: str) -> Point | None:
        """None where nothing was answered in any round."""
        answered = [run for run in self.runs if len(run.ends_s)]
        if not answered:
            return None
        latencies = np.concatenate([run.latencies_s for run in answered])
        spent = _sum(self.spent)
        cuts = [percentiles(run.latencies_s) for run in answered]
        failures = sum((run.failures for run in self.runs), Counter())
        return Point(
            concurrency=self.concurrency,
            rate=self.rate,
            requests=len(latencies),
            failures=dict(failures),
            throughput=Spread.of(run.throughput for run in answered),
            **{name: Spread.of(cut[name] for cut in cuts) for name in cuts[0]},
            split_ms=breakdown.split_ms(model, spent, ENSEMBLES, float(latencies.mean())),
            steps_ms=breakdown.steps_ms(spent, len(latencies), ENSEMBLES),
            batches=breakdown.mean_batches(spent),
            batch_ms=breakdown.batch_ms(spent),
            overhead_share=(
                breakdown.overhead_share(spent, len(latencies), float(latencies.mean()))
                if self.concurrency == 1
                else None
            ),
            cache_hits=breakdown.cache_hits(spent),
            memory_mb=max(self.memory_mb),
        )


def _sum(readings: Iterable[dict[str, ModelStatistics]]) -> dict[str, ModelStatistics]:
    total: dict[str, ModelStatistics] = {}
    for reading in readings:
        for name, counters in reading.items():
            total[name] = total.get(name, ModelStatistics()).plus(counters)
    return total


class Sweep:
    """Closed and open loops on targets; each round covers all of them."""

    def __init__(
        self,
        server: Server,
        targets: Sequence[Target],
        settings: SweepSettings,
        on_load: Callable[[str], None] = lambda what: None,
    ) -> None:
        self.server = server
        self.targets = targets
        self.settings = settings
        self.on_load = on_load
        self._closed: dict[str, dict[int, _Load]] = defaultdict(dict)
        self._open: dict[str, dict[float, _Load]] = defaultdict(dict)

    def close_loops(self, budget: Budget) -> None:
        """All levels of concurrency that the time allows."""
        for index in range(self.settings.rounds):
            for target in self.targets:
                self._closed_round(target, index, budget)

    def _closed_round(self, target: Target, index: int, budget: Budget) -> None:
        loads = self._closed[target.key]
        per_answer_s = target.seconds
        for concurrency in powers_of_two(self.settings.largest):
            at_least = concurrency * (STEADY_ANSWERS if per_answer_s < 1 else 1)
            expected_s = max(self.settings.point_s, at_least * per_answer_s)
            what = f"{target.key}: {concurrency} callers, round {index + 1}"
            if not budget.allows(expected_s, what):
                return
            self.on_load(what)
            load = loads.setdefault(concurrency, _Load(concurrency=concurrency))
            asking = partial(
                closed_loop,
                target.call,
                concurrency,
                seconds=self.settings.point_s,
                at_least=at_least,
            )
            run = load.measure(self.server, asking)
            per_answer_s = 1 / run.throughput if run.throughput else budget.left_s

    def open_loops(self, budget: Budget) -> None:
        """Rates up to the first behind the knee, in each round the same ones."""
        for index in range(self.settings.rounds):
            for target in self.targets:
                if self._closed[target.key]:
                    self._open_round(target, index, budget)

    def _open_round(self, target: Target, index: int, budget: Budget) -> None:
        peak = max(load.throughput for load in self._closed[target.key].values())
        if not peak:
            return  # none was answered, and the report shows the failures
        loads = self._open[target.key]
        rates = [*loads] if index else [part * peak for part in RATES]
        for rate in rates:
            seconds = max(self.settings.point_s, self.settings.arrivals / rate)
            what = f"{target.key}: {rate:.3g} requests a second, round {index + 1}"
            if not budget.allows(1.5 * seconds, what):
                return
            self.on_load(what)
            load = loads.setdefault(rate, _Load(rate=rate))
            arrivals = poisson_arrivals(rate, seconds, (self.settings.seed, index))
            load.measure(self.server, partial(open_loop, target.call, arrivals))
            if not index and _behind_knee(load, next(iter(loads.values()))):
                return

    def results(self) -> list[TargetResult]:
        """What was found of each target."""
        return [self._result(target) for target in self.targets]

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
    """The highest rate before the first that is behind the knee."""
    before = None
    for rate, load in loads.items():
        if _behind_knee(load, next(iter(loads.values()))):
            break
        before = rate
    return before


def _behind_knee(load: _Load, lowest: _Load) -> bool:
    """Do many fail, or does the median round wait much longer than at the lowest rate?"""
    failed = sum(run.failures.total() for run in load.runs)
    answered = sum(len(run.ends_s) for run in load.runs)
    if failed > KNEE_FAILURES * (failed + answered):
        return True
    return _p95_ms(load) > KNEE_LATENCY * _p95_ms(lowest)


def _p95_ms(load: _Load) -> float:
    return Spread.of(percentiles(run.latencies_s)["p95_ms"] for run in load.runs).median
