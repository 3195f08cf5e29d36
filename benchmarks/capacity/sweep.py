"""`python -m benchmarks.capacity.sweep`: batching delay and load, simulated and drawn.

For measured service times: p99 and capacity against the batching delay, at several loads; p50,
p99 and waiting against the load, and from them the waiting at which an autoscaler should act.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.capacity import plots
from benchmarks.capacity.plan import at_rate
from benchmarks.capacity.service_times import ServiceTimes, read
from benchmarks.capacity.simulation import capacity

DELAYS_S = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
DELAY_LOADS = (0.3, 0.6, 0.9)
LOADS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
REQUESTS = 8_000


@dataclass(frozen=True)
class DelayPoint:
    """One delay at one load, a share of the capacity without delay."""

    delay_s: float
    utilisation: float
    p50_s: float
    p99_s: float
    capacity: float


@dataclass(frozen=True)
class LoadPoint:
    """One load, a share of the capacity. queue_s: waiting in all queues, mean of a request."""

    utilisation: float
    rate: float
    p50_s: float
    p99_s: float
    queue_s: float


def sweep_delays(times: ServiceTimes, most: float) -> list[DelayPoint]:
    """Every delay at every load; `most` is the capacity without delay."""
    points = []
    for delay_s in track(DELAYS_S, description="delays", console=Console(stderr=True)):
        delayed = times.with_delay(delay_s)
        full = capacity(delayed)
        for load in DELAY_LOADS:
            result = at_rate(delayed, load * most, REQUESTS)
            points.append(DelayPoint(delay_s, load, result.p50_s, result.p99_s, full))
    return sorted(points, key=lambda point: (point.utilisation, point.delay_s))


def sweep_loads(times: ServiceTimes, most: float, loads: Iterable[float]) -> list[LoadPoint]:
    """Every load."""
    points = []
    for load in track(list(loads), description="loads", console=Console(stderr=True)):
        result = at_rate(times, load * most, REQUESTS)
        points.append(LoadPoint(load, load * most, result.p50_s, result.p99_s, result.queue_s))
    return points


def best_delay(points: Sequence[DelayPoint]) -> float:
    """The delay with the lowest p99 at the highest load; the shorter one of equals."""
    highest = max(point.utilisation for point in points)
    at_highest = [point for point in points if point.utilisation == highest]
    return min(at_highest, key=lambda point: (round(point.p99_s, 3), point.delay_s)).delay_s


def tables(delays: Sequence[DelayPoint], loads: Sequence[LoadPoint]) -> list[Table]:
    """Both sweeps for people."""
    shares = sorted({point.utilisation for point in delays})
    first = Table(
        "delay ms", "capacity/s", *(f"p99 ms at {share:.0%}" for share in shares),
        title="batching delay",
    )  # fmt: skip
    for delay_s in sorted({point.delay_s for point in delays}):
        same = [point for point in delays if point.delay_s == delay_s]
        cells = [f"{1000 * point.p99_s:.1f}" for point in same]
        first.add_row(f"{1000 * delay_s:g}", f"{same[0].capacity:.1f}", *cells)
    second = Table("load", "rate/s", "p50 ms", "p99 ms", "waiting ms", title="load")
    for point in loads:
        milliseconds = [1000 * s for s in (point.p50_s, point.p99_s, point.queue_s)]
        cells = [f"{value:.1f}" for value in (point.rate, *milliseconds)]
        second.add_row(f"{point.utilisation:.0%}", *cells)
    return [first, second]


def main() -> None:
    """Simulate, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("service_times", type=Path)
    parser.add_argument("--out", type=Path, default=Path("build/capacity"))
    args = parser.parse_args()
    times = read(args.service_times)
    most = capacity(times)
    delays, loads = sweep_delays(times, most), sweep_loads(times, most, LOADS)
    plots.draw_delays(delays, args.out / "delay.png")
    plots.draw_loads(loads, args.out / "load.png")
    record = {"delays": [asdict(p) for p in delays], "loads": [asdict(p) for p in loads]}
    (args.out / "sweep.json").write_text(json.dumps(record, indent=1) + "\n")
    console = Console()
    console.print(*tables(delays, loads))
    console.print(f"capacity {most:.1f}/s; lowest p99: delay {1000 * best_delay(delays):g} ms")


if __name__ == "__main__":
    main()
