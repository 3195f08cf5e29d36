"""report.md: the results of a run for people. What programs read is in `results`."""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from benchmarks import report_sections
from benchmarks.breakdown import PARTS
from benchmarks.markdown import NOTHING, kilobytes, number, table
from benchmarks.plots import draw
from benchmarks.results import Point, Results, TargetResult, read_results

FILE = "report.md"
_ROUND = re.compile(r", round \d+|: round \d+")
TITLES = {
    "ensemble": "Ensembles, over gRPC",
    "network": "Networks, over gRPC",
    "verb": "Verbs of the client",
}


def write(results: Results, folder: Path, plots: Iterable[Path] = ()) -> Path:
    """report.md below `folder`, with the plots that lie there too."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    parts = [_head(results)]
    parts += [f"![{plot.stem.replace('-', ' ')}]({plot.name})" for plot in plots]
    sections = results.sections
    parts += [report_sections.pipelines(results), report_sections.networks(results)]
    parts += [_targets(results, kind, title) for kind, title in TITLES.items()]
    parts += [
        report_sections.many_prompts(sections.get("prompts", {})),
        report_sections.many_pictures(sections.get("folder", {})),
        report_sections.mixed_verbs(sections.get("mix", {})),
        report_sections.cross_check(sections.get("perf_analyzer", {})),
        _left_out(results.left_out),
    ]
    path.write_text("\n\n".join(part for part in parts if part) + "\n")
    return path


def _head(results: Results) -> str:
    machine, settings = results.machine, results.settings
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    chosen = ", ".join(f"{name} {_setting(value)}" for name, value in settings.items())
    return (
        f"# Benchmark: {settings['set']}\n\n"
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"Python {machine['python']}; {versions}. Begun {results.started}, "
        f"{results.seconds:.0f} s. Settings: {chosen}.\n\n"
        "A figure in brackets is the least and the greatest of the rounds, the one before it "
        "their median."
    )


def _setting(value: object) -> str:
    return " ".join(value) if isinstance(value, tuple) else str(value)


def _targets(results: Results, kind: str, title: str) -> str:
    targets = results.of_kind(kind)
    if not targets:
        return ""
    return "\n\n".join(
        [
            f"## {title}",
            _summary(results, targets),
            "### Where the time goes",
            _splits(targets),
            "### Under load",
            _loads(targets),
        ]
    )


def _summary(results: Results, targets: Iterable[TargetResult]) -> str:
    columns = [
        "name", "p50 ms alone", "p95", "p99", "a second alone", "a second at most",
        "callers then", "knee, a second", "overhead alone", "kB sent", "kB received",
        "server MB", "accuracy",
    ]  # fmt: skip
    rows = []
    for target in targets:
        alone, peak = target.closed[0], target.peak
        rows.append(
            [
                target.name,
                alone.p50_ms.text(),
                number(alone.p95_ms.median),
                number(alone.p99_ms.median),
                number(alone.throughput.median),
                peak.throughput.text(),
                peak.concurrency,
                number(target.knee_per_s),
                _share(alone.overhead_share),
                kilobytes(target.request_bytes),
                kilobytes(target.response_bytes),
                number(max(point.memory_mb for point in target.closed), 0),
                _accuracy(results, target),
            ]
        )
    return table(columns, rows)


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.0%}"


def _accuracy(results: Results, target: TargetResult) -> str | None:
    if target.kind == "network" or target.name not in results.accuracy:
        return None
    figures = results.accuracy[target.name]
    return ", ".join(f"{name} {value:.3f}" for name, value in figures.items())


def _splits(targets: Iterable[TargetResult]) -> str:
    columns = ["name", "callers", "p50 ms", *PARTS, "cache hits"]
    rows = []
    for target in targets:
        alone, peak = target.closed[0], target.peak
        rows.append(_split_row(target.name, alone))
        rows += [_split_row(target.name, peak)] if peak is not alone else []
    note = (
        "Milliseconds per request: `network` is what the caller saw and Triton did not, the rest "
        "are Triton's own counters, summed over an ensemble's steps, of which some run beside "
        "each other."
    )
    return f"{note}\n\n{table(columns, rows)}"


def _split_row(name: str, point: Point) -> list[object]:
    parts = [number(point.split_ms.get(part), 2) for part in PARTS]
    return [name, point.concurrency, number(point.p50_ms.median), *parts, point.cache_hits]


def _loads(targets: Iterable[TargetResult]) -> str:
    columns = [
        "name", "load", "requests", "failed", "a second", "p50 ms", "p95 ms", "p99 ms",
        "mean batches",
    ]  # fmt: skip
    rows = [
        [
            target.name,
            _load(point),
            point.requests,
            sum(point.failures.values()),
            point.throughput.text(),
            point.p50_ms.text(),
            point.p95_ms.text(),
            point.p99_ms.text(),
            ", ".join(f"{name} {mean:.1f}" for name, mean in point.batches.items()),
        ]
        for target in targets
        for point in (*target.closed, *target.open)
    ]
    return table(columns, rows)


def _load(point: Point) -> str:
    return f"{point.concurrency} callers" if point.rate is None else f"{point.rate:.3g}/s offered"


def _left_out(left_out: list[str]) -> str:
    if not left_out:
        return ""
    # Of what was left out in several rounds, one line.
    rounds = Counter(_ROUND.sub("", what) for what in left_out)
    lines = [f"- {what}{_times(count)}" for what, count in rounds.items()]
    return "## Left out for want of time\n\n" + "\n".join(lines)


def _times(count: int) -> str:
    return f", {count} rounds" if count > 1 else ""


def main() -> None:
    """`python -m benchmarks.report FOLDER`: plots and report.md anew from report.json."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    results = read_results(folder)
    print(write(results, folder, draw(results, folder)))


if __name__ == "__main__":
    main()
