"""Command-line options that say what is exported and served, the same for every command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.exports import CHECKPOINT_SETS
from benchmarks.run import SCALES, SECTIONS
from export.precision import PRECISIONS
from export.runtimes import RUNTIMES

CheckpointSet = Annotated[str, typer.Option("--set", help=f"One of {', '.join(CHECKPOINT_SETS)}.")]
Edge = Annotated[
    int | None, typer.Option(help="Cap GroundingDINO's picture at a square of this edge.")
]
PrecisionName = Annotated[str, typer.Option(help=f"One of {', '.join(PRECISIONS)}.")]
RuntimeName = Annotated[str, typer.Option(help=f"One of {', '.join(RUNTIMES)}.")]
ScaleName = Annotated[str, typer.Option(help=f"One of {', '.join(SCALES)}.")]
Minutes = Annotated[float | None, typer.Option(help="Time for all measurements.")]
Section = Annotated[
    list[str] | None, typer.Option(help=f"Only these; repeat: {', '.join(SECTIONS)}.")
]
Json = Annotated[Path, typer.Option("--json", help="The figures, for programs.")]
