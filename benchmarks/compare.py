"""`python -m benchmarks.compare A B`: what changed between two reports, beyond the noise.

A figure changed when Welch's t-test on the logarithms of its rounds says so at a false discovery
rate of 5 % over all figures (Benjamini-Hochberg), and when the medians differ by at least 5 %. A
figure with fewer than two rounds on a side cannot be judged; small changes take more rounds to
show (`--rounds` of `python -m benchmarks`). The rounds of one run know nothing
of what differs between runs: other load, another clock rate. Compare runs of one quiet machine.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from rich.console import Console
from scipy import stats

from benchmarks.results import Results, read_results, write_json
from benchmarks.tables import of, on_terminal

FALSE_DISCOVERIES = 0.05
LEAST_CHANGE = 0.05
Verdict = Literal["better", "worse", "same", "unknown"]
# Of a point: which figures are compared, and whether more is better.
POINT_FIGURES = {"throughput": True, "p50_ms": False, "p95_ms": False, "p99_ms": False}


@dataclass(frozen=True)
class Figure:
    """A figure's rounds. more_is_better: a rate, and not a time."""

    values: tuple[float, ...]
    more_is_better: bool = True


@dataclass(frozen=True)
class Change:
    """before, after: medians. ratio: after over before. p: of the t-test, NaN if not judged."""

    name: str
    before: float
    after: float
    ratio: float
    p: float
    verdict: Verdict


def figures_of(results: Results) -> dict[str, Figure]:
    """Every figure of a report that has rounds, by name."""
    found = {}
    for target in results.targets:
        for point in target.closed:  # the rates of open loops differ from run to run
            load = f"{target.kind} {target.name}, {point.concurrency} callers"
            for name, more in POINT_FIGURES.items():
                found[f"{load}: {name}"] = Figure(getattr(point, name).values, more)
    for row in results.networks:
        rate = f"{row.network} by {row.side}, batch {row.batch}: rows_per_s"
        found[rate] = Figure(row.rows_per_s.values)
    for side in results.pipelines:
        for name in ("pictures_per_s", "ratio"):
            found[f"main_object by {side.side}: {name}"] = Figure(getattr(side, name).values)
    return found


def compare(before: Mapping[str, Figure], after: Mapping[str, Figure]) -> list[Change]:
    """The figures that both have, in the order of the first."""
    names = [name for name in before if name in after]
    adjusted = np.array([p_value(before[name].values, after[name].values) for name in names])
    judged = ~np.isnan(adjusted)
    if judged.any():
        adjusted[judged] = stats.false_discovery_control(adjusted[judged])
    return [
        _change(name, before[name], after[name], float(p))
        for name, p in zip(names, adjusted, strict=True)
    ]


def p_value(before: Iterable[float], after: Iterable[float]) -> float:
    """Welch's t-test on logarithms; NaN where a side has fewer than two rounds."""
    sides = [np.log(np.maximum([*side], np.finfo(float).tiny)) for side in (before, after)]
    if min(len(side) for side in sides) < 2:
        return math.nan
    if all(np.ptp(side) == 0 for side in sides):
        return float(sides[0][0] == sides[1][0])
    return float(stats.ttest_ind(*sides, equal_var=False).pvalue)


def _change(name: str, before: Figure, after: Figure, p: float) -> Change:
    old, new = (float(np.median(figure.values)) for figure in (before, after))
    ratio = new / old if old else math.nan
    verdict = _verdict(ratio, p, more_is_better=before.more_is_better)
    return Change(name, old, new, ratio, p, verdict)


def _verdict(ratio: float, p: float, *, more_is_better: bool) -> Verdict:
    if math.isnan(p) or math.isnan(ratio):
        return "unknown"
    if p > FALSE_DISCOVERIES or abs(math.log(max(ratio, 1e-9))) < math.log1p(LEAST_CHANGE):
        return "same"
    return "better" if (ratio > 1) == more_is_better else "worse"


def main(
    before: Path,
    after: Path,
    out: Annotated[Path | None, typer.Option("--json", help="The changes, for programs.")] = None,
) -> None:
    """Compare two report.json or their folders, print and write."""
    console = Console()
    reports = [read_results(path) for path in (before, after)]
    machines = [{k: v for k, v in r.machine.items() if k != "versions"} for r in reports]
    if machines[0] != machines[1]:
        console.print("[yellow]The reports are of different machines.[/]")
    changes = compare(*(figures_of(found) for found in reports))
    changed = [change for change in changes if change.verdict in ("better", "worse")]
    changed.sort(key=lambda change: -abs(math.log(change.ratio)))
    console.print(on_terminal([of(change) for change in changed], "Beyond the noise"))
    counts = Counter(change.verdict for change in changes)
    console.print(
        f"{len(changes) - counts['unknown']} figures judged: {counts['better']} better, "
        f"{counts['worse']} worse, {counts['same']} the same; {counts['unknown']} had too few "
        "rounds"
    )
    if out:
        write_json(out, changes)


if __name__ == "__main__":
    typer.run(main)
