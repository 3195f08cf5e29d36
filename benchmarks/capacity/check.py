"""`python -m benchmarks.capacity.check`: is the simulation right about the real server?

Measures service times, loads the real server of this machine with Poisson arrivals at several
utilisations, simulates the very same arrivals, and compares p50 and p99. Exits with 1 when one is
further off than the tolerance. The load's own latencies are not used to fit anything.

A machine whose neighbours come and go is now faster, now slower, and near its capacity a little
less speed makes requests wait much longer. So each load is simulated on a machine as fast as this
one was meanwhile: by the processor time that the load took, over what its executions, of the sizes
that they had, took when their times were measured. Factors near 1 say that nothing was amiss.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.capacity import plots, simulation
from benchmarks.capacity.measure import BUSY_CALLERS, Effort, table_of
from benchmarks.capacity.record import (
    REPETITIONS,
    REQUESTS,
    UTILISATIONS,
    Loads,
    Record,
    Run,
    measure,
)
from benchmarks.capacity.service_times import ServiceTimes, write
from benchmarks.spread import Spread
from fovea.specs import from_json, to_json

TOLERANCE = 0.15
# Simulations of the same arrivals, which differ in how requests differ.
SIMULATIONS = 10
PERCENTILES = (50, 99)
# Cores that others may use without disturbing.
QUIET = 0.1


@dataclass(frozen=True)
class Comparison:
    """One percentile at one utilisation, all repetitions together, in milliseconds.

    measured_spread_ms: of the repetitions by themselves. error: simulated / measured - 1.
    slowdown: of the machine, least and greatest of the repetitions.
    """

    utilisation: float
    rate: float
    requests: int
    percentile: int
    measured_ms: float
    measured_spread_ms: tuple[float, float]
    simulated_ms: float
    error: float
    slowdown: tuple[float, float]


@dataclass(frozen=True)
class Verdict:
    """All comparisons.

    capacity_per_s: simulated, of many callers; measured_per_s: of BUSY_CALLERS. foreign_cores: the
    most that others used during a load: above QUIET the figures mean little. queue_ms: per
    utilisation, measured and simulated waiting per request.
    """

    tolerance: float
    passed: bool
    capacity_per_s: float
    measured_per_s: float
    foreign_cores: float
    comparisons: tuple[Comparison, ...]
    queue_ms: dict[float, tuple[float, float]]


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
        slowdowns = [record.slowdown(run, times) for run in same]
        loads = [
            load
            for run, slowdown in zip(same, slowdowns, strict=True)
            for load in simulate(times.scaled(slowdown), run)
        ]
        simulated = np.concatenate([load.latencies_s for load in loads])
        comparisons += [_compare(same, simulated, slowdowns, p) for p in PERCENTILES]
        queues[utilisation] = (
            1000 * float(np.mean([run.queue_s for run in same])),
            1000 * float(np.mean([load.queue_s for load in loads])),
        )
    passed = all(abs(comparison.error) <= tolerance for comparison in comparisons)
    return Verdict(
        tolerance=tolerance,
        passed=passed,
        capacity_per_s=simulation.capacity(times),
        measured_per_s=float(np.mean(record.measured.busy_rates)),
        foreign_cores=max(run.foreign_cores for run in runs),
        comparisons=tuple(comparisons),
        queue_ms=queues,
    )


def _compare(
    runs: Sequence[Run],
    simulated_s: NDArray[np.float64],
    slowdowns: Sequence[float],
    percentile: int,
) -> Comparison:
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
        slowdown=(min(slowdowns), max(slowdowns)),
    )


def table_of_verdict(verdict: Verdict) -> Table:
    """The comparison for people."""
    title = (
        f"Simulated against measured; capacity {verdict.capacity_per_s:.1f} a second, "
        f"{BUSY_CALLERS} callers got {verdict.measured_per_s:.1f}"
    )
    table = Table(
        "load", "rate", "", "measured ms", "runs", "simulated ms", "error", "slowdown", title=title,
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
            "{:.2f} to {:.2f}".format(*row.slowdown),
        )
    for utilisation, (measured, simulated) in verdict.queue_ms.items():
        cells = (f"{utilisation:.0%}", "", "waits", f"{measured:.1f}", "", f"{simulated:.1f}")
        table.add_row(*cells, style="dim")
    limit = f"within {verdict.tolerance:.0%}"
    table.caption = f"all {limit}" if verdict.passed else f"not all {limit}"
    if verdict.foreign_cores > QUIET:
        table.caption += (
            f"\nnot a quiet machine: others used up to {verdict.foreign_cores:.2f} cores"
        )
    return table


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
