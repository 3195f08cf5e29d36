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

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from fovea_client.statistics import difference, read_statistics
from fovea_server import EmbeddedServer
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.capacity import simulation
from benchmarks.capacity.curves import ProcessorUse
from benchmarks.capacity.fit import AROUND
from benchmarks.capacity.measure import (
    BUSY_CALLERS,
    Effort,
    Measured,
    measure_machine,
    served,
    table_of,
)
from benchmarks.capacity.service_times import CPU, ServiceTimes, write
from benchmarks.figures import Spread
from benchmarks.loads import answered, open_loop, poisson_arrivals
from benchmarks.plots import save
from benchmarks.questions import VERBS
from benchmarks.results import write_json
from benchmarks.tables import on_terminal
from benchmarks.targets import Target
from demo.served import export_demo

VERB = "main_object"
UTILISATIONS = (0.3, 0.5, 0.7, 0.85)
TOLERANCE = 0.15
# Simulations of the same arrivals, which differ in how requests differ.
SIMULATIONS = 10
PERCENTILES = (50, 99)
# Cores that others may use without disturbing.
QUIET = 0.1


@dataclass(frozen=True)
class Run:
    """The real server under one load.

    queue_s: waiting in all queues, mean of a request. cpu_s: processor seconds of the server and
    the caller. executions: sizes of batches and how many had them, by step. foreign_cores: that
    others used meanwhile.
    """

    utilisation: float
    rate: float
    arrivals_s: tuple[float, ...]
    latencies_s: tuple[float, ...]
    queue_s: float
    cpu_s: float
    executions: Mapping[str, Sequence[tuple[int, int]]]
    foreign_cores: float = 0.0

    def expected_cpu_s(self, times: ServiceTimes) -> float:
        """Processor seconds of such executions when the times were measured."""
        around = [s.work_s(1) for s in times.steps if s.model == AROUND]
        return len(self.arrivals_s) * sum(around) + sum(
            count * step.work_s(size)
            for step in times.steps
            if step.place == CPU
            for size, count in self.executions.get(step.model, ())
        )

    def slowdown(self, times: ServiceTimes, measured: Measured) -> float:
        """How much slower the machine was than while its times were measured."""
        alone_s = sum(step.work_s(1) for step in times.steps if step.place == CPU)
        share = measured.alone.cpu_s / alone_s  # what a single caller's is of the expected
        return self.cpu_s / self.expected_cpu_s(times) / share


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


def measure(
    utilisations: Sequence[float], repetitions: int, requests: int, effort: Effort
) -> tuple[Measured, list[Run]]:
    """The machine's times, then every load, repetitions in turns.

    Utilisations are shares of the simulated capacity.
    """
    verb = next(verb for verb in VERBS if verb.name == VERB)
    repository, runs = export_demo(), []
    with served(repository, verb, effort) as (server, target, pool):
        measured = measure_machine(repository, verb, pool, target, server, effort)
        most = simulation.capacity(measured.to_times(VERB, ""))
        turns = [(u, int(1000 * u) + r) for r in range(repetitions) for u in utilisations]
        with Progress(console=Console(stderr=True)) as progress:
            for share, seed in progress.track(turns, description="loads"):
                runs.append(measure_run(server, target, share, share * most, requests, seed))
    return measured, runs


def measure_run(
    server: EmbeddedServer,
    target: Target,
    utilisation: float,
    rate: float,
    requests: int,
    seed: int,
) -> Run:
    """One Poisson load; RuntimeError when a request was not answered."""
    arrivals = poisson_arrivals(rate, requests / rate, seed)
    before, use = read_statistics(server.grpc_url), ProcessorUse(server.pid)
    samples = answered(open_loop(target.call, arrivals))
    cpu_s, foreign_cores = use.ours_s(), use.foreign_cores()
    spent = difference(read_statistics(server.grpc_url), before)
    steps = {name: s for name, s in spent.items() if name != VERB}
    return Run(
        utilisation=utilisation,
        rate=rate,
        arrivals_s=tuple(arrivals.tolist()),
        latencies_s=tuple(samples.latencies_s.tolist()),
        queue_s=sum(s.queue_s for s in steps.values()) / len(arrivals),
        cpu_s=cpu_s,
        executions={
            name: [(size, batch.executions) for size, batch in s.batches.items()]
            for name, s in steps.items()
        },
        foreign_cores=foreign_cores,
    )


def compare(
    times: ServiceTimes, measured: Measured, runs: Sequence[Run], tolerance: float
) -> Verdict:
    """Every percentile at every utilisation, the very same arrivals simulated."""
    comparisons: list[Comparison] = []
    queues: dict[float, tuple[float, float]] = {}
    for utilisation in sorted({run.utilisation for run in runs}):
        same = [run for run in runs if run.utilisation == utilisation]
        slowdowns = [run.slowdown(times, measured) for run in same]
        loads = [
            simulation.open_loop(times.scaled(slowdown), np.array(run.arrivals_s), seed=seed)
            for run, slowdown in zip(same, slowdowns, strict=True)
            for seed in range(SIMULATIONS)
        ]
        comparisons += [_compare(same, loads, slowdowns, p) for p in PERCENTILES]
        queues[utilisation] = (
            1000 * float(np.mean([run.queue_s for run in same])),
            1000 * float(np.mean([load.queue_s for load in loads])),
        )
    return Verdict(
        tolerance=tolerance,
        passed=all(abs(comparison.error) <= tolerance for comparison in comparisons),
        capacity_per_s=simulation.capacity(times),
        measured_per_s=float(np.mean(measured.busy_rates)),
        foreign_cores=max(run.foreign_cores for run in runs),
        comparisons=tuple(comparisons),
        queue_ms=queues,
    )


def _compare(
    runs: Sequence[Run],
    loads: Sequence[simulation.Simulated],
    slowdowns: Sequence[float],
    percentile: int,
) -> Comparison:
    measured_s = np.concatenate([run.latencies_s for run in runs])
    simulated_s = np.concatenate([load.latencies_s for load in loads])
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
    rows = [
        {
            "load": f"{row.utilisation:.0%}",
            "rate": f"{row.rate:.1f}",
            "": f"p{row.percentile}",
            "measured ms": f"{row.measured_ms:.1f}",
            "runs": "{:.1f} to {:.1f}".format(*row.measured_spread_ms),
            "simulated ms": f"{row.simulated_ms:.1f}",
            "error": f"{row.error:+.1%}" + (" !" if abs(row.error) > verdict.tolerance else ""),
            "slowdown": "{:.2f} to {:.2f}".format(*row.slowdown),
        }
        for row in verdict.comparisons
    ]
    title = (
        f"Simulated against measured; capacity {verdict.capacity_per_s:.1f} a second, "
        f"{BUSY_CALLERS} callers got {verdict.measured_per_s:.1f}"
    )
    notes = [("all" if verdict.passed else "not all") + f" within {verdict.tolerance:.0%}"]
    notes += [
        f"waiting at {utilisation:.0%}: {measured:.1f} ms measured, {simulated:.1f} simulated"
        for utilisation, (measured, simulated) in verdict.queue_ms.items()
    ]
    if verdict.foreign_cores > QUIET:
        notes += [f"not a quiet machine: others used up to {verdict.foreign_cores:.2f} cores"]
    return on_terminal(rows, title, "\n".join(notes))


def draw(verdict: Verdict, path: Path) -> Path:
    """Measured and simulated percentiles against utilisation."""
    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    ax = figure.subplots()
    for percentile, colour in zip(PERCENTILES, ("tab:blue", "tab:red"), strict=True):
        rows = [row for row in verdict.comparisons if row.percentile == percentile]
        x = [100 * row.utilisation for row in rows]
        below = [max(0.0, row.measured_ms - row.measured_spread_ms[0]) for row in rows]
        above = [max(0.0, row.measured_spread_ms[1] - row.measured_ms) for row in rows]
        ax.errorbar(x, [row.measured_ms for row in rows], [below, above], fmt="o", color=colour,
                    capsize=3, label=f"p{percentile} measured")  # fmt: skip
        ax.plot(x, [r.simulated_ms for r in rows], color=colour, label=f"p{percentile} simulated")
    ax.set(xlabel="load, % of the simulated capacity", ylabel="latency, ms", yscale="log")
    ax.grid(alpha=0.3, which="both")
    ax.legend(frameon=False)
    return save(figure, path)


def finish(measured: Measured, runs: Sequence[Run], tolerance: float, out: Path) -> int:
    """Simulate, compare, print and write; the exit code, 1 when the simulation is too far off."""
    times = measured.to_times(VERB, "demo checkpoints")
    verdict = compare(times, measured, runs, tolerance)
    write(times, out.with_name("service-times.json"))
    write_json(out, asdict(verdict))
    console = Console()
    console.print(table_of(times), table_of_verdict(verdict))
    console.print(f"written to {out} and {draw(verdict, out.with_suffix('.png'))}")
    return 0 if verdict.passed else 1


def main(
    utilisations: Annotated[
        list[float] | None, typer.Option("--utilisation", help="Only these; repeat.")
    ] = None,
    repetitions: int = 5,
    requests: Annotated[int, typer.Option(help="Of one load.")] = 350,
    tolerance: float = TOLERANCE,
    out: Annotated[Path, typer.Option("--json")] = Path("build/capacity-check.json"),
) -> None:
    """Measure, simulate, compare; exit code 1 when the simulation is too far off."""
    chosen = utilisations or UTILISATIONS
    measured, runs = measure(chosen, repetitions, requests, Effort())
    sys.exit(finish(measured, runs, tolerance, out))


if __name__ == "__main__":
    typer.run(main)
