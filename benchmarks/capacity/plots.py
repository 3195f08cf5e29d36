"""The pictures of the capacity page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from benchmarks.capacity.check import Verdict
    from benchmarks.capacity.sweep import DelayPoint, LoadPoint

_SIZE = (7.0, 3.2)
_DPI = 90


def draw_check(verdict: Verdict, path: Path) -> None:
    """Measured and simulated percentiles against utilisation."""
    figure, axis = _figure()
    for percentile, colour in ((50, "tab:blue"), (99, "tab:red")):
        rows = [row for row in verdict.comparisons if row.percentile == percentile]
        x = [100 * row.utilisation for row in rows]
        middle = [row.measured_ms for row in rows]
        spread = [
            [row.measured_ms - min(row.measured_ms, row.measured_spread_ms[0]) for row in rows],
            [max(row.measured_ms, row.measured_spread_ms[1]) - row.measured_ms for row in rows],
        ]
        axis.errorbar(
            x, middle, spread, fmt="o", color=colour, capsize=3, label=f"p{percentile} measured"
        )
        axis.plot(x, [r.simulated_ms for r in rows], color=colour, label=f"p{percentile} simulated")
    axis.set(xlabel="load, % of the simulated capacity", ylabel="latency, ms", yscale="log")
    _save(figure, axis, path)


def draw_delays(points: Sequence[DelayPoint], path: Path) -> None:
    """p99 against the batching delay, a line for each load."""
    figure, axis = _figure()
    for load in sorted({point.utilisation for point in points}):
        same = [point for point in points if point.utilisation == load]
        axis.plot(
            [1000 * point.delay_s for point in same],
            [1000 * point.p99_s for point in same],
            marker=".",
            label=f"p99 at {load:.0%} of capacity",
        )
    axis.set(xlabel="batching delay, ms", ylabel="latency, ms", yscale="log")
    right = axis.twinx()
    first = [point for point in points if point.utilisation == points[0].utilisation]
    right.plot(
        [1000 * point.delay_s for point in first],
        [point.capacity for point in first],
        color="black",
        linestyle="--",
        label="capacity (right)",
    )
    right.set(ylabel="requests a second", ylim=(0, None))
    _save(figure, axis, path, right)


def draw_loads(points: Sequence[LoadPoint], path: Path) -> None:
    """p99 and waiting against the load."""
    figure, axis = _figure()
    x = [100 * point.utilisation for point in points]
    axis.plot(x, [1000 * point.p99_s for point in points], "tab:red", marker=".", label="p99")
    axis.plot(x, [1000 * point.p50_s for point in points], "tab:blue", marker=".", label="p50")
    queue = [1000 * point.queue_s for point in points]
    axis.plot(x, queue, "black", linestyle="--", marker=".", label="waiting in queues, mean")
    axis.set(xlabel="load, % of capacity", ylabel="ms", yscale="log")
    _save(figure, axis, path)


def _figure() -> tuple[Figure, Any]:
    matplotlib.use("Agg")
    figure = Figure(figsize=_SIZE, dpi=_DPI, layout="constrained")
    return figure, figure.subplots()


def _save(figure: Figure, axis: Any, path: Path, *others: Any) -> None:
    axis.grid(alpha=0.3, which="both")
    handles = [handle for a in (axis, *others) for handle in a.get_legend_handles_labels()[0]]
    axis.legend(handles=handles, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
