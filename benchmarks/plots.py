"""The results as pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.breakdown import NETWORKS, PARTS
from benchmarks.figures import Spread
from benchmarks.results import PipelineResult, Results, TargetResult

DPI = 110
T = TypeVar("T")


def draw(results: Results, folder: Path) -> list[Path]:
    """All plots that the results have figures for; the files, in the report's order."""
    folder.mkdir(parents=True, exist_ok=True)
    ensembles = results.of_kind("ensemble")
    networks = list(dict.fromkeys(result.network for result in results.networks))
    figures = {
        "sides": _sides(results.pipelines) if results.pipelines else None,
        "latency-against-throughput": _grid(ensembles, _latency),
        "breakdown": _breakdown(ensembles) if ensembles else None,
        "batch-sizes": _grid(ensembles, _batches),
        "batch-curves": _grid(networks, partial(_curves, results)),
    }
    return [save(figure, folder / f"{name}.png") for name, figure in figures.items() if figure]


def save(figure: Figure, path: Path) -> Path:
    """As a PNG that is the same for the same figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    return path


def _grid(items: Sequence[T], draw_one: Callable[[Axes, T], None]) -> Figure | None:
    """A plot for each item, three in a row, with a legend in each."""
    if not items:
        return None
    columns = min(3, len(items))
    rows = -(-len(items) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.4 * rows))
    for place, item in enumerate(items, start=1):
        ax = figure.add_subplot(rows, columns, place)
        draw_one(ax, item)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=7)
    figure.subplots_adjust(hspace=0.45, wspace=0.3)
    return figure


def _latency(ax: Axes, target: TargetResult) -> None:
    for loads, style, kind in ((target.closed, "o-", "callers"), (target.open, "x--", "Poisson")):
        rates = [point.throughput.median for point in loads]
        for name, colour in (("p50_ms", "tab:blue"), ("p99_ms", "tab:red")):
            values = [getattr(point, name).median for point in loads]
            label = f"{name[:3]}, {kind}"
            ax.plot(rates, values, style, color=colour, markersize=4, label=label)
    for point in target.closed:
        place = (point.throughput.median, point.p50_ms.median)
        ax.annotate(str(point.concurrency), place, fontsize=7, xytext=(3, -8),
                    textcoords="offset points")  # fmt: skip
    ax.set(title=target.name, xlabel="answers a second", ylabel="ms", yscale="log")


def _batches(ax: Axes, target: TargetResult) -> None:
    for name in NETWORKS:
        points = [point for point in target.closed if name in point.batches]
        if points:
            callers = [point.concurrency for point in points]
            ax.plot(callers, [p.batches[name] for p in points], "o-", markersize=4, label=name)
    ax.set(title=target.name, xlabel="callers", ylabel="rows per execution")
    ax.set_xscale("log", base=2)


def _curves(results: Results, ax: Axes, name: str) -> None:
    """Rows per second by batch size, of a network called directly and through Triton."""
    mine = [result for result in results.networks if result.network == name]
    for side in dict.fromkeys(result.side for result in mine):
        rows = [result for result in mine if result.side == side]
        rates = [row.rows_per_s.median for row in rows]
        ax.plot([row.batch for row in rows], rates, "o-", markersize=4, label=side)
    for target in results.of_kind("network"):
        if target.name == name:
            peak = target.peak.throughput.median
            ax.axhline(peak, color="black", linestyle=":", label="Triton at most")
    ax.set(title=name, xlabel="batch", ylabel="rows a second", ylim=(0, None))
    ax.set_xscale("log", base=2)


def _breakdown(targets: Sequence[TargetResult]) -> Figure:
    figure = Figure(figsize=(15, 4))
    alone = [target.alone for target in targets]
    models = sorted({name for point in alone for name in point.steps_ms})
    for ax, title, names, rows in zip(
        figure.subplots(1, 3, sharey=True),
        ("one caller, by part", "one caller, by model", "at the highest throughput"),
        (PARTS, models, PARTS),
        (
            [point.split_ms for point in alone],
            [point.steps_ms for point in alone],
            [target.peak.split_ms for target in targets],
        ),
        strict=True,
    ):
        _stacked(ax, [target.name for target in targets], names, rows)
        ax.set(title=title, xlabel="ms per request, summed over steps")
        ax.legend(fontsize=6)
    figure.axes[0].invert_yaxis()
    return figure


def _stacked(
    ax: Axes, bars: Sequence[str], parts: Sequence[str], rows: Sequence[Mapping[str, float]]
) -> None:
    """A horizontal bar for each row, its parts one after the other."""
    offset = [0.0] * len(bars)
    for part, colour in zip(parts, colormaps["tab20"].colors, strict=False):
        values = [row.get(part, 0.0) for row in rows]
        ax.barh(bars, values, left=offset, label=part, color=colour)
        offset = [a + b for a, b in zip(offset, values, strict=True)]


def _sides(sides: Sequence[PipelineResult]) -> Figure:
    """Pictures per second of main_object by side, with the least and the greatest round."""
    figure = Figure(figsize=(7, 0.6 * len(sides) + 1))
    ax = figure.subplots()
    rates: list[Spread] = [side.pictures_per_s for side in sides]
    below = [rate.median - rate.least for rate in rates]
    above = [rate.greatest - rate.median for rate in rates]
    names = [f"{side.side}\nbatch or callers: {side.batch}" for side in sides]
    ax.barh(names, [rate.median for rate in rates], xerr=[below, above], capsize=3)
    ax.invert_yaxis()
    ax.set(title="main_object", xlabel="pictures a second")
    return figure
