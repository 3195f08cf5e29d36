"""Command-line options that say what is exported and served, the same for every command."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.exports import CHECKPOINT_SETS
from benchmarks.order import SCALES, SECTIONS
from export.precision import PRECISIONS
from export.runtimes import RUNTIMES


def _one_of(names: Iterable[str], *flags: str, more: str = "") -> Any:
    known = ", ".join(names)

    def parse(text: str) -> str:
        if text not in known.split(", "):
            raise typer.BadParameter(f"expected one of {known}, got {text!r}")
        return text

    return typer.Option(*flags, parser=parse, metavar="NAME", help=f"One of {known}.{more}")


CheckpointSet = Annotated[str, _one_of(CHECKPOINT_SETS, "--set")]
Edge = Annotated[
    int | None, typer.Option(help="Cap GroundingDINO's picture at a square of this edge.")
]
PrecisionName = Annotated[str, _one_of(PRECISIONS)]
RuntimeName = Annotated[str, _one_of(RUNTIMES)]
ScaleName = Annotated[str, _one_of(SCALES)]
Minutes = Annotated[float | None, typer.Option(help="Time for all measurements.")]
Section = Annotated[list[str] | None, _one_of(SECTIONS, more=" Only these; repeat.")]
Json = Annotated[Path, typer.Option("--json", help="The figures, for programs.")]
