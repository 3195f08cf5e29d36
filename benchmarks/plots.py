"""The results as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.breakdown import PARTS
from benchmarks.results import Results, TargetResult

DPI = 110


def draw(results: Results, folder: Path) -> list[Path]:
    """The plots of the ensembles that were put under load; the files, in the report's order."""
    ensembles = results.of_kind("ensemble")
    if not ensembles:
        return []
    latency = save(_latencies(ensembles), folder / "latency-against-throughput.png")
    return [latency, save(_breakdown(ensembles), folder / "breakdown.png")]


def save(figure: Figure, path: Path) -> Path:
    """As a PNG that is the same for the same figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    return path


def _latencies(targets: Sequence[TargetResult]) -> Figure:
    """A plot for each target, three in a row."""
    rows = -(-len(targets) // 3)
    figure = Figure(figsize=(13.8, 3.4 * rows))
    for place, target in enumerate(targets, start=1):
        _latency(figure.add_subplot(rows, 3, place), target)
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
    ax.grid(alpha=0.3)
    ax.legend(fontsize=7)


def _breakdown(targets: Sequence[TargetResult]) -> Figure:
    figure = Figure(figsize=(15, 4))
    alone = [target.alone for target in targets]
    models = sorted({name for point in alone for name in point.steps_ms})
    plots = {
        "one caller, by part": (PARTS, [point.split_ms for point in alone]),
        "one caller, by model": (models, [point.steps_ms for point in alone]),
        "at the highest throughput": (PARTS, [target.peak.split_ms for target in targets]),
    }
    axes = figure.subplots(1, 3, sharey=True)
    for ax, (title, (parts, rows)) in zip(axes, plots.items(), strict=True):
        _stacked(ax, [target.name for target in targets], parts, rows)
        ax.set(title=title, xlabel="ms per request, summed over steps")
        # Below the axes: bars are long, and covered nowhere.
        ax.legend(fontsize=6, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.15))
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
