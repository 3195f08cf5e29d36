"""The results as pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.breakdown import NETWORKS, PARTS
from benchmarks.results import Results, TargetResult

DPI = 110


def draw(results: Results, folder: Path) -> list[Path]:
    """All plots that the results have figures for; the files, in the report's order."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "sides": _sides(results),
        "latency-against-throughput": _latency(results.of_kind("ensemble")),
        "breakdown": _breakdown(results.of_kind("ensemble")),
        "batch-sizes": _batches(results.of_kind("ensemble")),
        "batch-curves": _curves(results),
        "prompts": _prompts(results),
        "mix": _mix(results),
    }
    return [_save(figure, folder / f"{name}.png") for name, figure in figures.items() if figure]


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=DPI, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return path


def _axes(count: int) -> tuple[Figure, list[Axes]]:
    """A grid of so many axes, three in a row."""
    columns = min(3, count)
    rows = -(-count // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(4.6 * columns, 3.4 * rows), squeeze=False)
    axes = [*grid.flat]
    for spare in axes[count:]:
        spare.axis("off")
    figure.subplots_adjust(hspace=0.45, wspace=0.3)
    return figure, axes[:count]


def _latency(targets: Sequence[TargetResult]) -> Figure | None:
    if not targets:
        return None
    figure, axes = _axes(len(targets))
    for target, ax in zip(targets, axes, strict=True):
        for loads, style in ((target.closed, "o-"), (target.open, "x--")):
            rates = [point.throughput.median for point in loads]
            for name, colour in (("p50_ms", "tab:blue"), ("p99_ms", "tab:red")):
                kind = "callers" if style == "o-" else "Poisson"
                label = f"{name[:3]}, {kind}"
                values = [getattr(point, name).median for point in loads]
                ax.plot(rates, values, style, color=colour, markersize=4, label=label)
        for point in target.closed:
            place = (point.throughput.median, point.p50_ms.median)
            ax.annotate(str(point.concurrency), place, fontsize=7, xytext=(3, -8),
                        textcoords="offset points")  # fmt: skip
        ax.set(title=target.name, xlabel="answers a second", ylabel="ms", yscale="log")
        ax.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    return figure


def _breakdown(targets: Sequence[TargetResult]) -> Figure | None:
    if not targets:
        return None
    figure, axes = plt.subplots(1, 3, figsize=(15, 4), sharey=True)
    alone = [target.closed[0] for target in targets]
    models = sorted({name for point in alone for name in point.steps_ms})
    for ax, title, names, rows in (
        (axes[0], "one caller, by part", PARTS, [point.split_ms for point in alone]),
        (axes[1], "one caller, by model", models, [point.steps_ms for point in alone]),
        (axes[2], "at the highest throughput", PARTS, [t.peak.split_ms for t in targets]),
    ):
        _stacked(ax, [target.name for target in targets], names, rows)
        ax.set(title=title, xlabel="ms per request, summed over steps")
        ax.legend(fontsize=6)
    axes[0].invert_yaxis()
    return figure


def _stacked(
    ax: Axes, bars: Sequence[str], parts: Sequence[str], rows: Sequence[Mapping[str, float]]
) -> None:
    """A horizontal bar for each row, its parts one after the other."""
    colours = plt.get_cmap("tab20").colors
    offset = [0.0] * len(bars)
    for part, colour in zip(parts, colours, strict=False):
        values = [row.get(part, 0.0) for row in rows]
        ax.barh(bars, values, left=offset, label=part, color=colour)
        offset = [a + b for a, b in zip(offset, values, strict=True)]


def _batches(targets: Sequence[TargetResult]) -> Figure | None:
    if not targets:
        return None
    figure, axes = _axes(len(targets))
    for target, ax in zip(targets, axes, strict=True):
        for name in NETWORKS:
            points = [point for point in target.closed if name in point.batches]
            if points:
                callers = [point.concurrency for point in points]
                ax.plot(callers, [p.batches[name] for p in points], "o-", markersize=4, label=name)
        ax.set(title=target.name, xlabel="callers", ylabel="rows per execution")
        ax.set_xscale("log", base=2)
        ax.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    return figure


def _curves(results: Results) -> Figure | None:
    """Rows per second by batch size, of the networks called directly and through Triton."""
    names = list(dict.fromkeys(result.network for result in results.networks))
    if not names:
        return None
    served = {target.name: target for target in results.of_kind("network")}
    figure, axes = _axes(len(names))
    for name, ax in zip(names, axes, strict=True):
        mine = [result for result in results.networks if result.network == name]
        for side in dict.fromkeys(result.side for result in mine):
            rows = [result for result in mine if result.side == side]
            batches = [row.batch for row in rows]
            ax.plot(batches, [r.rows_per_s.median for r in rows], "o-", markersize=4, label=side)
        if name in served:
            peak = served[name].peak.throughput.median
            ax.axhline(peak, color="black", linestyle=":", label="Triton at most")
        ax.set(title=name, xlabel="batch", ylabel="rows a second", ylim=(0, None))
        ax.set_xscale("log", base=2)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=7)
    return figure


def _sides(results: Results) -> Figure | None:
    """Pictures per second of main_object by side, with the least and the greatest round."""
    if not results.pipelines:
        return None
    figure, ax = plt.subplots(figsize=(7, 0.6 * len(results.pipelines) + 1))
    _bars(
        ax,
        [f"{side.side}\nbatch or callers: {side.batch}" for side in results.pipelines],
        [side.pictures_per_s for side in results.pipelines],
    )
    ax.set(title="main_object", xlabel="pictures a second")
    return figure


def _bars(ax: Axes, names: Iterable[str], spreads: Sequence[object]) -> None:
    middles = [spread.median for spread in spreads]
    below = [spread.median - spread.least for spread in spreads]
    above = [spread.greatest - spread.median for spread in spreads]
    ax.barh([*names], middles, xerr=[below, above], capsize=3)
    ax.invert_yaxis()


def _prompts(results: Results) -> Figure | None:
    rows = results.sections.get("prompts", {}).get("rows", [])
    if not rows:
        return None
    figure, ax = plt.subplots(figsize=(6, 3.6))
    counts = [row["boxes"] for row in rows]
    for key, label in (("first_ms", "a new picture"), ("again_ms", "the same picture again")):
        ax.plot(counts, [row[key]["median"] for row in rows], "o-", markersize=4, label=label)
    ax.set(title="boxes in one request", xlabel="boxes", ylabel="ms", ylim=(0, None))
    ax.grid(alpha=0.3)
    ax.legend()
    return figure


def _mix(results: Results) -> Figure | None:
    rows = results.sections.get("mix", {}).get("rows", [])
    if not rows:
        return None
    figure, ax = plt.subplots(figsize=(7, 3.6))
    places = range(len(rows))
    for shift, key, label in ((-0.2, "alone_p99_ms", "alone"), (0.2, "mixed_p99_ms", "in the mix")):
        ax.bar([place + shift for place in places], [row[key]["median"] for row in rows], 0.4,
               label=label)  # fmt: skip
    ax.set_xticks([*places], [row["verb"] for row in rows], rotation=20, ha="right")
    ax.set(title="all verbs at once", ylabel="p99, ms", yscale="log")
    ax.legend()
    return figure
