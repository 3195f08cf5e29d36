"""`python -m tests.faults`: every fault in turn, each on its own server.

Writes the figures of each and exits with 1 if a promise was broken.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from fovea_server import EmbeddedServer
from rich.console import Console

from benchmarks.results import write_json
from demo.served import demo_server
from export.machine import machine
from tests.faults import (
    deadlines,
    fuzz,
    heavy,
    index_job,
    killed,
    overload,
    replaced,
    stopped,
    unready,
)
from tests.faults.report import Report, table_of

# Fault -> its function; those of ON_A_SERVER get a server, the others start their own.
ON_A_SERVER: dict[str, Callable[..., Report]] = {
    "fuzz": fuzz.run,
    "killed-backend": killed.run_backend,
    "killed-first-step": partial(killed.run_backend, victim="preprocess_image"),
    "killed-server": killed.run_server,
    "overload": overload.run,
    "heavy": heavy.run,
    "deadlines": deadlines.run,
    "index-driver": index_job.run_driver,
    "index-server": index_job.run_server,
    "index-ray-driver": partial(index_job.run_driver, on_ray=True),
    "index-ray-worker": index_job.run_worker,
    "index-ray-server": partial(index_job.run_server, on_ray=True),
}
ALONE: dict[str, Callable[..., Report]] = {
    "stopped": stopped.run,
    "replaced": replaced.run,
    "unready": unready.run,
}
FAULTS = (*ON_A_SERVER, *ALONE)
# Sizes that take seconds.
SHORT: dict[str, dict[str, Any]] = {
    "fuzz": {"requests": 400},
    "killed-backend": {"pictures": 60},
    "killed-first-step": {"pictures": 60},
    "killed-server": {"pictures": 60},
    "overload": {"requests": 64, "seconds": 8.0, "judge_speed": False},
    "deadlines": {"requests": 48, "seconds": 8.0},
    "heavy": {"requests": 24, "judge_speed": False},
    "stopped": {"seconds": 1.0, "requests": 16},
    "replaced": {"models": replaced.MODELS[:1], "requests": 16},
    "unready": {"requests": 3},
    "index-driver": {"kills": 2},
    "index-server": {"kills": 1},
    "index-ray-driver": {"kills": 1},
    "index-ray-worker": {"kills": 2},
    "index-ray-server": {"kills": 1},
}


def run(fault: str, *, short: bool = False, server: EmbeddedServer | None = None) -> Report:
    """Run one fault at full size, or short enough to take seconds."""
    sizes = SHORT[fault] if short else {}
    if fault in ALONE:
        return ALONE[fault](**sizes)
    if server is not None:
        return ON_A_SERVER[fault](server, **sizes)
    # Ten kills in a row may be more in a minute than a server survives by default.
    with demo_server(max_restarts_per_minute=60) as started:
        return ON_A_SERVER[fault](started, **sizes)


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"Repeat; of {', '.join(FAULTS)}.")] = None,
    short: Annotated[bool, typer.Option("--short", help="Seconds each.")] = False,
    out: Annotated[Path, typer.Option("--json")] = Path("build/faults.json"),
) -> None:
    """Run, print and write fault by fault; exits with 1 if a promise was broken."""
    chosen = only or FAULTS
    if unknown := {*chosen} - {*FAULTS}:
        raise typer.BadParameter(f"expected some of {', '.join(FAULTS)}, got {sorted(unknown)}")
    console, reports = Console(stderr=True), list[Report]()
    for fault in chosen:
        console.print(f"{fault} ...")
        reports.append(run(fault, short=short))
        faults = [asdict(report) for report in reports]
        write_json(out, {"machine": machine(), "faults": faults})
    Console(width=160).print(table_of(reports))
    sys.exit(any(report.broken for report in reports))


if __name__ == "__main__":
    typer.run(main)
