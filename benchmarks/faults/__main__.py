"""`python -m benchmarks.faults`: every fault in turn, each on a server of its own.

Writes the figures of each and ends with 1 if a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from fovea_server import EmbeddedServer
from rich.console import Console

from benchmarks.faults import deadlines, fuzz, heavy, killed, overload, replaced, stopped, unready
from benchmarks.faults.report import Report, table_of
from benchmarks.machine import machine
from demo.served import demo_server

# Fault -> its function; those of ON_A_SERVER get a server, the others start their own.
ON_A_SERVER: dict[str, Callable[..., Report]] = {
    "fuzz": fuzz.run,
    "killed-backend": killed.run_backend,
    "killed-first-step": partial(killed.run_backend, victim="preprocess_image"),
    "killed-server": killed.run_server,
    "overload": overload.run,
    "heavy": heavy.run,
    "deadlines": deadlines.run,
}
ALONE: dict[str, Callable[..., Report]] = {
    "stopped": stopped.run,
    "replaced": replaced.run,
    "unready": unready.run,
}
FAULTS = (*ON_A_SERVER, *ALONE)
# A size of each that takes seconds.
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
}


def run(fault: str, *, short: bool = False, server: EmbeddedServer | None = None) -> Report:
    """One fault at full size, or so short that it takes seconds."""
    sizes = SHORT[fault] if short else {}
    if fault in ALONE:
        return ALONE[fault](**sizes)
    if server is not None:
        return ON_A_SERVER[fault](server, **sizes)
    with demo_server() as started:
        return ON_A_SERVER[fault](started, **sizes)


def main(argv: list[str] | None = None) -> int:
    """Runs, prints and writes; the file grows with every fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=FAULTS)
    parser.add_argument("--short", action="store_true", help="seconds each")
    parser.add_argument("--json", type=Path, default=Path("build/faults.json"))
    args = parser.parse_args(argv)
    console, reports = Console(stderr=True), list[Report]()
    args.json.parent.mkdir(parents=True, exist_ok=True)
    for fault in args.only:
        console.print(f"{fault} ...")
        reports.append(run(fault, short=args.short))
        written = {"machine": machine(), "faults": [asdict(report) for report in reports]}
        args.json.write_text(json.dumps(written, indent=1) + "\n")
    Console(width=160).print(table_of(reports))
    return 1 if any(report.broken for report in reports) else 0


if __name__ == "__main__":
    sys.exit(main())
