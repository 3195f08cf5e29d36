"""Command-line options that say what is exported and served, the same for every command."""

from __future__ import annotations

from typing import Annotated

import typer

from benchmarks.exports import CHECKPOINT_SETS
from export.precision import PRECISIONS
from export.runtimes import RUNTIMES

CheckpointSet = Annotated[str, typer.Option("--set", help=f"One of {', '.join(CHECKPOINT_SETS)}.")]
Edge = Annotated[int | None, typer.Option(help="As of the export.")]
PrecisionName = Annotated[str, typer.Option(help=f"One of {', '.join(PRECISIONS)}.")]
RuntimeName = Annotated[str, typer.Option(help=f"One of {', '.join(RUNTIMES)}.")]
