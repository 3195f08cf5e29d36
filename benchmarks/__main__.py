"""`python -m benchmarks`: latency, throughput, batches, memory and truth, against baselines.

Writes report.md, report.json and plots. Loads and baselines come in rounds, so that each figure
has a spread; what the time does not allow is left out, and the report says so.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import report, run
from benchmarks.machine import machine_name
from benchmarks.options import CheckpointSet
from benchmarks.plots import draw
from benchmarks.results import Results
from benchmarks.scales import SCALES
from export.errors import ExportError

KEPT = Path("benchmarks/results")
console = Console(stderr=True)


def main(
    checkpoint_set: CheckpointSet = "demo",
    scale: Annotated[str, typer.Option(help=f"One of {', '.join(SCALES)}.")] = "full",
    minutes: Annotated[float | None, typer.Option(help="Time for all measurements.")] = None,
    grounding_dino_edge: Annotated[
        int | None, typer.Option(help="Cap GroundingDINO's picture at a square of this edge.")
    ] = None,
    precision: Annotated[str, typer.Option(help="Of the served networks.")] = "fp32",
    runtime: Annotated[str, typer.Option(help="Of the served networks.")] = "onnxruntime",
    device: Annotated[str, typer.Option(help="Of the baselines: cpu or cuda.")] = "cpu",
    section: Annotated[
        list[str] | None, typer.Option(help=f"Only these; repeat: {', '.join(run.SECTIONS)}.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Repetitions; default: the scale's.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("build/bench"),
    keep: Annotated[
        bool, typer.Option(help=f"Also keep the report below {KEPT}, by machine and set.")
    ] = False,
) -> None:
    """Measure the server, and what it is compared with."""
    try:
        settings = run.Settings(
            checkpoint_set, scale, minutes, grounding_dino_edge, precision, runtime, device,
            tuple(section or run.SECTIONS), rounds,
        )  # fmt: skip
        results = run.run(settings, console)
    except (ExportError, ValueError) as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        sys.exit(1)
    console.print(f"report in {write(results, out)}")
    if keep:
        kept = KEPT / machine_name() / checkpoint_set
        console.print(f"kept in {shutil.copytree(out, kept, dirs_exist_ok=True)}")


def write(results: Results, folder: Path) -> Path:
    """report.json, the plots and report.md; returns the last."""
    results.write(folder)
    return report.write(results, folder, draw(results, folder))


if __name__ == "__main__":
    typer.run(main)
