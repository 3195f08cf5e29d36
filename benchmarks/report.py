"""report.md: the results of a run for people, a table for each kind of dataclass in `results`.

`python -m benchmarks.report FOLDER` writes it and the plots again from report.json.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import typer

from benchmarks.networks import COMPILED, EAGER, ONNX
from benchmarks.plots import draw
from benchmarks.results import Results, best, read_results
from benchmarks.tables import cell, markdown, of

FILE = "report.md"
_ROUND = re.compile(r", round \d+|: round \d+")
TARGETS = {
    "ensemble": "Ensembles, over gRPC",
    "network": "Networks, over gRPC",
    "verb": "Verbs of the client",
}
SECTIONS = {
    "prompts": "Many prompts on one picture, in one request",
    "folder": "A folder of pictures of mixed sizes, by `main_object_many`",
    "mix": "All verbs at once",
}
HOW_TO_READ = (
    "A figure in brackets is the least and the greatest of the rounds, the one before it their "
    "median. What a column means is said by the dataclass of its rows in `benchmarks/results.py`."
)
SIDES = (
    "`transformers` is the plain pipeline, picture by picture. `pytorch` runs the same steps as "
    "the server in one process, batched, each network compiled where that is faster; "
    "`onnxruntime` likewise, with the very graphs that are served. All get the same JPEGs, in "
    "turns; ratios are of one round."
)
PARTS_OF_TIME = (
    "In split_ms, `network` is what the caller saw and Triton did not, the rest are Triton's own "
    "counters, summed over an ensemble's steps, of which some run beside each other."
)


def write(results: Results, folder: Path) -> Path:
    """report.json, the plots and report.md below `folder`; returns the last."""
    results.write(folder)
    parts = [_head(results)]
    parts += [f"![{p.stem.replace('-', ' ')}]({p.name})" for p in draw(results, folder)]
    parts += [*_baselines(results), *_targets(results), *_sections(results)]
    if results.left_out:
        # One line for what was left out in several rounds.
        rounds = Counter(_ROUND.sub("", what) for what in results.left_out)
        lines = [f"- {what}" + (f", {n} rounds" if n > 1 else "") for what, n in rounds.items()]
        parts += ["## Left out for want of time", "\n".join(lines)]
    path = folder / FILE
    path.write_text("\n\n".join(parts) + "\n")
    return path


def _head(results: Results) -> str:
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"# Benchmark: {results.settings['set']}\n\n"
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"Python {machine['python']}; {versions}. Begun {results.started}, "
        f"{results.seconds:.0f} s. Settings: {cell(results.settings, 0)}.\n\n{HOW_TO_READ}"
    )


def _baselines(results: Results) -> Iterator[str]:
    if results.pipelines:
        yield "## main_object against its baselines"
        yield SIDES
        sides = results.pipelines
        yield markdown([of(side) | {"accuracy": cell(side.accuracy, 3)} for side in sides])
    if results.networks:
        names = dict.fromkeys(result.network for result in results.networks)
        yield "## Networks called directly"
        yield "Rows a second of the best batch, in brackets; answers come back to the host."
        yield markdown([_network(results, name) for name in names])
        yield "### By batch size"
        yield markdown([of(result) for result in results.networks])


def _network(results: Results, name: str) -> dict[str, object]:
    """A network's best batch by each side, and its best rate through Triton."""
    row: dict[str, object] = {"network": name}
    for side in (EAGER, COMPILED, ONNX):
        found = best(results.networks, name, side)
        row[side] = found and f"{cell(found.rows_per_s.median, 1)} ({found.batch})"
    served = [target for target in results.of_kind("network") if target.name == name]
    row["through Triton"] = served[0].peak.throughput.median if served else None
    return row


def _targets(results: Results) -> Iterator[str]:
    for kind, title in TARGETS.items():
        targets = results.of_kind(kind)
        accuracy = {} if kind == "network" else results.accuracy
        if targets:
            yield f"## {title}"
            yield markdown(
                [
                    {
                        "name": target.name,
                        "p50 ms alone": target.alone.p50_ms,
                        "a second alone": target.alone.throughput.median,
                        "a second at most": target.peak.throughput,
                        "callers then": target.peak.concurrency,
                        "knee, a second": target.knee_per_s,
                        "overhead alone": target.alone.overhead_share,
                        "kB sent": target.request_bytes / 1000,
                        "kB received": target.response_bytes / 1000,
                        "accuracy": cell(accuracy.get(target.name), 3),
                    }
                    for target in targets
                ]
            )
            yield "### Every load"
            yield PARTS_OF_TIME
            yield markdown(
                [
                    {"name": target.name} | of(point, "steps_ms")
                    for target in targets
                    for point in (*target.closed, *target.open)
                ]
            )


def _sections(results: Results) -> Iterator[str]:
    for name, title in SECTIONS.items():
        section = getattr(results.sections, name)
        if section:
            yield f"## {title}"
            if section.rows:
                yield markdown([of(row) for row in section.rows])
            rest = {name: v for name, v in of(section, "rows").items() if v or v == 0}
            if rest:
                yield cell(rest)


def main(folder: Path) -> None:
    """Write the plots and report.md again from report.json."""
    print(write(read_results(folder), folder))


if __name__ == "__main__":
    typer.run(main)
