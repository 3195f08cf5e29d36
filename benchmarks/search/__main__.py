"""`python -m benchmarks.search`: jobs, decoder, vectors and peers; one table each, and JSON.

Each section has its baseline in the same run. `--quick` is a run of minutes whose figures say only
that everything works.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from fovea_client import Client
from rich.console import Console

from benchmarks.options import Json
from benchmarks.results import write_json
from benchmarks.search import decoder, jobs, peers, vectors
from benchmarks.tables import on_terminal
from demo.scene_pictures import write_scenes
from demo.served import EXPORT_FOLDER, demo_server, export_demo
from export.machine import machine

TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Size:
    """pictures: of a job. rounds: of all jobs. times: each decoder runs. peers: their pictures."""

    pictures: int
    rounds: int
    times: int
    objects: int
    peers: int


FULL = Size(pictures=160, rounds=3, times=7, objects=1_000_000, peers=40)
QUICK = Size(pictures=24, rounds=1, times=1, objects=60_000, peers=3)


def run_jobs(size: Size, folder: Path) -> list[dict[str, Any]]:
    """Against the bare server."""
    write_scenes(folder / "photos", size.pictures)
    with demo_server() as server, Client(server.grpc_url, timeout_s=TIMEOUT_S) as client:
        found = jobs.measure(
            client, server.grpc_url, folder / "photos", folder / "store", size.rounds
        )
    return [asdict(found)]


def run_decoder(size: Size, folder: Path) -> list[dict[str, Any]]:
    """Against the plain one."""
    export_demo()
    return [asdict(decoder.measure(EXPORT_FOLDER, size.times))]


def run_vectors(size: Size, folder: Path) -> list[dict[str, Any]]:
    """Against the exact scan."""
    found = vectors.measure(size.objects)
    upkeep = {
        name: value for name, value in asdict(found).items() if name not in ("indexed", "unindexed")
    }
    Console().print(on_terminal([upkeep], "upkeep"))
    return [{**row, **upkeep} for row in vectors.to_rows(found)]


def run_peers(size: Size, folder: Path) -> list[dict[str, Any]]:
    """Against a plain script."""
    scenes = write_scenes(folder / "photos", size.peers)
    with demo_server() as server, Client(server.grpc_url, timeout_s=TIMEOUT_S) as client:
        return [asdict(row) for row in peers.measure(client, folder / "photos", scenes)]


SECTIONS: dict[str, Callable[[Size, Path], list[dict[str, Any]]]] = {
    "vectors": run_vectors,
    "decoder": run_decoder,
    "jobs": run_jobs,
    "peers": run_peers,
}


def main(
    only: Annotated[
        list[str] | None, typer.Option(help=f"Repeat; of {', '.join(SECTIONS)}.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Minutes; figures of no worth.")] = False,
    out: Json = Path("build/bench-search.json"),
) -> None:
    """Measure, print and write; the file grows with every section."""
    if unknown := {*(only or ())} - {*SECTIONS}:
        raise typer.BadParameter(f"expected some of {', '.join(SECTIONS)}, got {sorted(unknown)}")
    size, found = QUICK if quick else FULL, dict[str, Any]()
    for name in only or SECTIONS:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = partial(SECTIONS[name], size)(Path(folder))
        Console(width=160).print(on_terminal(found[name], name))
        write_json(out, {"machine": machine(), "quick": quick, "size": asdict(size), **found})


if __name__ == "__main__":
    typer.run(main)
