"""`python -m benchmarks.capacity.check`: is the simulation right about the real server?

Measures service times, loads the real server of this machine with Poisson arrivals at several
utilisations, simulates the very same arrivals, and compares p50 and p99. Exits with 1 when one is
further off than the tolerance. The load's own latencies are not used to fit anything.

A machine whose neighbours come and go is now faster, now slower; near its capacity a tenth less
speed doubles what requests wait. So its throughput is measured before and after each load as well:
a load is a share of what the machine gave just before, and is simulated on one that gives what it
gave around it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from fovea_client.statistics import difference, read_statistics
from fovea_server import EmbeddedServer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.capacity import plots, simulation
from benchmarks.capacity.measure import (
    Effort,
    Measured,
    answered,
    assemble,
    busy_rate,
    measure_machine,
    server_of,
    table_of,
)
from benchmarks.capacity.neighbours import Neighbours
from benchmarks.capacity.service_times import ServiceTimes, write
from benchmarks.loads import open_loop, poisson_arrivals
from benchmarks.questions import VERBS
from benchmarks.spread import Spread
from benchmarks.targets import Target, Wire, ensemble_target
from demo.served import export_demo
from fovea.specs import from_json, to_json

VERB = "main_object"
UTILISATIONS = (0.3, 0.5, 0.7, 0.85)
TOLERANCE = 0.15
REQUESTS = 350
REPETITIONS = 4
# Seconds of the throughput between two loads.
BUSY_S = 8.0
# Simulations of the same arrivals, which differ in how requests differ.
SIMULATIONS = 10
PERCENTILES = (50, 99)
# Cores that others may use without disturbing.
QUIET = 0.1


@dataclass(frozen=True)
class Loads:
    """What the real server is loaded with. busy_s: of the throughput between two loads."""

    utilisations: Sequence[float] = UTILISATIONS
    repetitions: int = REPETITIONS
    requests: int = REQUESTS
    busy_s: float = BUSY_S

    def turns(self) -> list[tuple[float, int]]:
        """Utilisation and seed of each load."""
        repetitions = range(self.repetitions)
        return [(u, int(1000 * u) + r) for r in repetitions for u in self.utilisations]


@dataclass(frozen=True)
class Run:
    """The real server under one load.

    busy_rates: answers per second that the machine gave just before and just after. queue_s:
    waiting in all queues, mean of a request. foreign_cores: that others used meanwhile.
    """

    utilisation: float
    rate: float
    arrivals_s: tuple[float, ...]
    latencies_s: tuple[float, ...]
    busy_rates: tuple[float, float]
    queue_s: float
    foreign_cores: float = 0.0
    mean_batch: Mapping[str, float] = field(default_factory=dict)
    execution_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """All that was measured, so that it can be compared again: `--record`."""

    measured: Measured
    runs: tuple[Run, ...]

    @property
    def times(self) -> ServiceTimes:
        return assemble(self.measured, VERB, "demo checkpoints")

    def slowdown(self, run: Run) -> float:
        """How much slower the machine was around a load than while its times were measured."""
        return self.measured.busy_rate / float(np.mean(run.busy_rates))


@dataclass(frozen=True)
class Comparison:
    """One percentile at one utilisation, all repetitions together, in milliseconds.

    measured_spread_ms: of the repetitions by themselves. error: simulated / measured - 1.
    """

    utilisation: float
    rate: float
    requests: int
    percentile: int
    measured_ms: float
    measured_spread_ms: tuple[float, float]
    simulated_ms: float
    error: float


@dataclass(frozen=True)
class Verdict:
    """All comparisons.

    foreign_cores: the most that others used during a load: above QUIET the figures mean little.
    queue_ms: per utilisation, measured and simulated waiting per request.
    """

    tolerance: float
    passed: bool
    capacity_per_s: float
    foreign_cores: float
    comparisons: tuple[Comparison, ...]
    queue_ms: dict[float, tuple[float, float]]


def measure_run(
    server: EmbeddedServer,
    target: Target,
    utilisation: float,
    before: float,
    loads: Loads,
    seed: int,
) -> Run:
    """One Poisson load; RuntimeError when a request was not answered.

    before: answers per second that the machine gave just before.
    """
    rate = utilisation * before
    arrivals = poisson_arrivals(rate, loads.requests / rate, seed)
    counted, neighbours = read_statistics(server.grpc_url), Neighbours(server.pid)
    samples = answered(open_loop(target.call, arrivals))
    foreign_cores = neighbours.cores()
    spent = difference(read_statistics(server.grpc_url), counted)
    return Run(
        utilisation=utilisation,
        rate=rate,
        arrivals_s=tuple(arrivals.tolist()),
        latencies_s=tuple(samples.latencies_s.tolist()),
        busy_rates=(before, busy_rate(target, loads.busy_s)),
        queue_s=spent[VERB].queue_s / len(arrivals),
        foreign_cores=foreign_cores,
        mean_batch={name: model.mean_batch for name, model in spent.items() if model.executions},
        execution_s={
            name: sum(b.total_s for b in model.batches.values()) / model.executions
            for name, model in spent.items()
            if model.executions
        },
    )


def simulate(times: ServiceTimes, run: Run) -> list[simulation.Load]:
    """The same arrivals, simulated."""
    return [
        simulation.open_loop(times, np.array(run.arrivals_s), seed=seed)
        for seed in range(SIMULATIONS)
    ]


def compare(record: Record, times: ServiceTimes, tolerance: float) -> Verdict:
    """Every percentile at every utilisation."""
    runs = record.runs
    comparisons: list[Comparison] = []
    queues: dict[float, tuple[float, float]] = {}
    for utilisation in sorted({run.utilisation for run in runs}):
        same = [run for run in runs if run.utilisation == utilisation]
        loads = [load for run in same for load in simulate(times.scaled(record.slowdown(run)), run)]
        simulated = np.concatenate([load.latencies_s for load in loads])
        comparisons += [_compare(same, simulated, percentile) for percentile in PERCENTILES]
        queues[utilisation] = (
            1000 * float(np.mean([run.queue_s for run in same])),
            1000 * float(np.mean([load.queue_s for load in loads])),
        )
    passed = all(abs(comparison.error) <= tolerance for comparison in comparisons)
    capacity = record.measured.busy_rate
    foreign_cores = max(run.foreign_cores for run in runs)
    return Verdict(tolerance, passed, capacity, foreign_cores, tuple(comparisons), queues)


def _compare(runs: Sequence[Run], simulated_s: NDArray[np.float64], percentile: int) -> Comparison:
    measured_s = np.concatenate([run.latencies_s for run in runs])
    spread = Spread.of(1000 * np.percentile(run.latencies_s, percentile) for run in runs)
    measured = 1000 * float(np.percentile(measured_s, percentile))
    expected = 1000 * float(np.percentile(simulated_s, percentile))
    return Comparison(
        utilisation=runs[0].utilisation,
        rate=runs[0].rate,
        requests=len(measured_s),
        percentile=percentile,
        measured_ms=measured,
        measured_spread_ms=(spread.least, spread.greatest),
        simulated_ms=expected,
        error=expected / measured - 1,
    )


def table_of_verdict(verdict: Verdict) -> Table:
    """The comparison for people."""
    title = f"Simulated against measured; capacity {verdict.capacity_per_s:.1f} a second"
    table = Table(
        "utilisation", "rate", "percentile", "measured ms", "runs", "simulated ms", "error",
        title=title,
    )  # fmt: skip
    for row in verdict.comparisons:
        colour = "green" if abs(row.error) <= verdict.tolerance else "red"
        table.add_row(
            f"{row.utilisation:.0%}",
            f"{row.rate:.1f}",
            f"p{row.percentile}",
            f"{row.measured_ms:.1f}",
            "{:.1f} to {:.1f}".format(*row.measured_spread_ms),
            f"{row.simulated_ms:.1f}",
            f"[{colour}]{row.error:+.1%}[/]",
        )
    for utilisation, (measured, simulated) in verdict.queue_ms.items():
        cells = (f"{utilisation:.0%}", "", "waiting", f"{measured:.1f}", "", f"{simulated:.1f}")
        table.add_row(*cells, style="dim")
    limit = f"within {verdict.tolerance:.0%}"
    table.caption = f"all {limit}" if verdict.passed else f"not all {limit}"
    if verdict.foreign_cores > QUIET:
        table.caption += (
            f"\nnot a quiet machine: others used up to {verdict.foreign_cores:.2f} cores"
        )
    return table


def measure(loads: Loads, effort: Effort) -> Record:
    """The machine's times, then every load, repetitions in turns."""
    verb = next(verb for verb in VERBS if verb.name == VERB)
    repository = export_demo()
    pool = effort.pool()
    with server_of(repository) as server, Wire(server.grpc_url) as wire:
        target = ensemble_target(wire, verb, pool)
        measured = measure_machine(repository, verb, target, pool.questions, effort)
        before, runs = busy_rate(target, loads.busy_s), []
        with Progress(console=Console(stderr=True)) as progress:
            for utilisation, seed in progress.track(loads.turns(), description="loads"):
                runs.append(measure_run(server, target, utilisation, before, loads, seed))
                before = runs[-1].busy_rates[1]
    return Record(measured, tuple(runs))


def main() -> None:
    """Measure, simulate, compare, write; exit code 1 when the simulation is too far off."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utilisations", type=float, nargs="+", default=UTILISATIONS)
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="of one load")
    parser.add_argument("--tolerance", type=float, default=TOLERANCE)
    parser.add_argument("--json", type=Path, default=Path("build/capacity-check.json"))
    parser.add_argument("--record", type=Path, help="compare again what this file recorded")
    args = parser.parse_args()
    if args.record:
        record = from_json(Record, args.record.read_text())
    else:
        loads = Loads(args.utilisations, args.repetitions, args.requests)
        record = measure(loads, Effort())
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.with_suffix(".record.json").write_text(to_json(record))
    times = record.times
    verdict = compare(record, times, args.tolerance)
    write(times, args.json.with_name("service-times.json"))
    args.json.write_text(json.dumps(asdict(verdict), indent=1) + "\n")
    plots.draw_check(verdict, args.json.with_suffix(".png"))
    console = Console()
    console.print(table_of(times), table_of_verdict(verdict))
    console.print(f"written to {args.json} and {args.json.with_suffix('.png')}")
    sys.exit(0 if verdict.passed else 1)


if __name__ == "__main__":
    main()
