"""`python -m deploy.smoke`: tries fovea on this machine, from images to load; writes one JSON.

`--device gpu` needs Docker and an NVIDIA GPU and takes about ten minutes; `--device cpu` runs the
same steps against the embedded server, without images and engines.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from deploy.smoke.compose import ComposeHost
from deploy.smoke.embedded import EmbeddedHost
from deploy.smoke.host import Host
from deploy.smoke.run import Outcome, Step, run_steps
from deploy.smoke.steps import Smoke
from export.machine import machine

# Version of the JSON: raised when a field is removed or changes its meaning.
SCHEMA = 1
FOLDER = Path("build/gpu-smoke")
# Scenes to compare, and seconds of load.
SIZES = {"gpu": (40, 30.0), "cpu": (10, 5.0)}
MARKS = {"passed": "green", "failed": "red", "skipped": "yellow", "not reached": "yellow"}

console = Console(stderr=True)


def host_of(device: str, folder: Path = FOLDER) -> Host:
    """Where the server runs for a device."""
    return EmbeddedHost() if device == "cpu" else ComposeHost(folder)


def record(device: str, began: datetime, outcomes: list[Outcome]) -> dict[str, Any]:
    """The run as JSON."""
    return {
        "schema": SCHEMA,
        "passed": passed(outcomes),
        "device": device,
        "began": began.isoformat(timespec="seconds"),
        "seconds": round(sum(outcome.seconds for outcome in outcomes), 1),
        "machine": machine(),
        "steps": [outcome.record() for outcome in outcomes],
    }


def passed(outcomes: list[Outcome]) -> bool:
    """Whether nothing failed; skipped steps do not count."""
    return not any(outcome.verdict == "failed" for outcome in outcomes)


def try_all(host: Host, *, scenes: int, load_s: float) -> list[Outcome]:
    """Every step with its progress shown; the host is clean afterwards."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("")

        def began(step: Step) -> None:
            progress.reset(task, description=step.name)

        try:
            return run_steps(Smoke(host, scenes, load_s).steps(), began=began, ended=print_outcome)
        finally:
            host.clean_up()


def print_outcome(outcome: Outcome) -> None:
    """Print one line, and a second one with the figures."""
    color = MARKS[outcome.verdict]
    reason = f": {outcome.reason}" if outcome.reason else ""
    line = f"[{color}]{outcome.verdict:>11}[/] {outcome.name} ({outcome.seconds:.1f} s){reason}"
    console.print(line, highlight=False)
    if outcome.figures:
        console.print(f"            {json.dumps(outcome.figures)}", style="dim", highlight=False)


def main(
    device: Annotated[
        Literal["gpu", "cpu"], typer.Option(help="cpu: the embedded server, without images.")
    ] = "gpu",
    scenes: Annotated[
        int | None, typer.Option(help="Scenes to compare with PyTorch: 40, or 10 on the CPU.")
    ] = None,
    load_s: Annotated[float | None, typer.Option(help="Seconds of load: 30, or 5.")] = None,
    out: Annotated[Path, typer.Option("--json", help="Where the record goes.")] = Path(
        "build/gpu-smoke.json"
    ),
) -> None:
    """Try every step on this machine; exit with 0 if nothing failed."""
    began = datetime.now(timezone.utc)
    start = time.monotonic()
    usual_scenes, usual_load_s = SIZES[device]
    outcomes = try_all(
        host_of(device), scenes=scenes or usual_scenes, load_s=load_s or usual_load_s
    )
    result = record(device, began, outcomes)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    verdict = "passed" if result["passed"] else "FAILED"
    console.print(f"{verdict} after {time.monotonic() - start:.0f} s, written to {out}")
    sys.stdout.flush()
    sys.stderr.flush()
    # A step that was given up may still hold a thread, which must not delay the exit.
    os._exit(0 if result["passed"] else 1)


if __name__ == "__main__":
    typer.run(main)
