"""`python -m benchmarks`: latency, throughput, batches, memory and truth, against baselines.

Writes report.md, report.json and plots. Loads and baselines come in rounds, so that each figure
has a spread; what the time does not allow is left out, and the report says so.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import report
from benchmarks.options import (
    CheckpointSet,
    Edge,
    Minutes,
    PrecisionName,
    RuntimeName,
    ScaleName,
    Section,
)
from benchmarks.order import SECTIONS, Order
from benchmarks.run import run
from export.errors import ExportError

console = Console(stderr=True)


def main(
    checkpoint_set: CheckpointSet = "demo",
    scale: ScaleName = "full",
    minutes: Minutes = None,
    grounding_dino_edge: Edge = None,
    precision: PrecisionName = "fp32",
    runtime: RuntimeName = "onnxruntime",
    device: Annotated[str, typer.Option(help="Of the baselines: cpu or cuda.")] = "cpu",
    section: Section = None,
    rounds: Annotated[int | None, typer.Option(help="Repetitions; default: the scale's.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the report.")] = Path("build/bench"),
) -> None:
    """Measure the server, and what it is compared with."""
    order = Order(
        checkpoint_set=checkpoint_set,
        scale=scale,
        minutes=minutes,
        grounding_dino_edge=grounding_dino_edge,
        precision=precision,
        runtime=runtime,
        device=device,
        sections=tuple(section or SECTIONS),
        rounds=rounds,
    )
    try:
        results = run(order, console)
    except ExportError as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        sys.exit(1)
    console.print(f"report in {report.write(results, out)}")


if __name__ == "__main__":
    typer.run(main)
