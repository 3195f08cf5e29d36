"""`python -m export.family_real_size`: well-known architectures at their real size.

Each family's headline checkpoints, with random weights of the real shapes, go through the same
export: parity with PyTorch at batch 1 and 2. Then each network is timed with one picture at a
time, ONNX Runtime and PyTorch eager in turns on the same cores. Rows are saved one by one, so a
stopped run continues where it was; `--family` limits it to some. `--prepare` only exports and
checks, and keeps the graphs for a timed run on a quiet machine.
"""

from __future__ import annotations

import json
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from export import onnx_files, stand_ins
from export.checkpoints import find
from export.errors import ExportError
from export.family_checkpoints import STAND_INS
from export.machine import machine
from export.members import Exported, Form, MemberExport, code_of, export_member
from export.network import Network
from export.parity import open_onnxruntime, run_torch
from fovea.families import registry
from fovea.members import Source

# Rounds of one call each; fewer if a network takes longer than the budget.
ROUNDS, BUDGET_S = 7, 40.0
LARGEST_BATCH = 2
TABLE_WIDTH = 110
WORK = Path("build/families-real-size")
FIGURES = Path("docs/models.json")
console = Console()


@dataclass(frozen=True)
class NetworkRow:
    """One network of a checkpoint.

    difference: the worst against PyTorch. megabytes: the graph, weights included.
    onnxruntime_ms, pytorch_ms: medians of one call with a batch of 1.
    """

    name: str
    difference: float
    megabytes: float
    onnxruntime_ms: float
    pytorch_ms: float


@dataclass(frozen=True)
class CheckpointRow:
    """One checkpoint of a family. code: what decided the result; if equal, it is not repeated."""

    family: str
    checkpoint: str
    networks: list[NetworkRow]
    machine: dict[str, Any]
    code: str


def prepare(family: str, path: Path, members: Path) -> tuple[MemberExport, Exported]:
    """Export and check one checkpoint, unless a kept export fits; raises ParityError on drift."""
    checkpoint = find(family, Source(str(path), family))
    request = MemberExport(checkpoint, form=Form(max_batch=LARGEST_BATCH))
    with console.status(path.name) as status:
        exported = export_member(
            request, members, report=lambda network, what: status.update(f"{network}: {what}")
        )
    return request, exported


def measure(name: str, request: MemberExport, exported: Exported) -> CheckpointRow:
    """Time the networks of one checkpoint."""
    family = request.checkpoint.family
    with console.status(name) as status:
        opened = request.open()
        rows = []
        for network in opened.networks:
            status.update(f"{network.spec.name}: timing")
            rows.append(_row(exported, opened.role.part(network.spec.name), network))
    return CheckpointRow(family, name, rows, machine(), code_of(family))


def _row(exported: Exported, part: str, network: Network) -> NetworkRow:
    session, sample = open_onnxruntime(exported.graph(part)), network.sample(1, 0)
    names = [tensor.name for tensor in network.spec.outputs]
    times = _in_turns(lambda: session.run(names, sample), lambda: run_torch(network, sample))
    return network_row(exported, part, *times)


def network_row(
    exported: Exported, part: str, onnxruntime_ms: float, pytorch_ms: float
) -> NetworkRow:
    """A network's row, with these times."""
    [record] = [one for one in exported.record["networks"] if one["part"] == part]
    return NetworkRow(
        name=exported.member.play().network_name(part),
        difference=max(agreement["difference"] for agreement in record["parity"]),
        megabytes=round(onnx_files.size(exported.graph(part)) / 1e6, 1),
        onnxruntime_ms=onnxruntime_ms,
        pytorch_ms=pytorch_ms,
    )


def _in_turns(*calls: Callable[[], object]) -> list[float]:
    """Median milliseconds of each call, in turns, after one round to warm up."""
    times: list[list[float]] = [[] for _ in calls]
    begun = time.perf_counter()
    for round_ in range(ROUNDS + 1):
        for call, took in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            if round_:
                took.append(1000 * (time.perf_counter() - start))
        if round_ and time.perf_counter() - begun > BUDGET_S:
            break
    return [round(statistics.median(took), 1) for took in times]


def main(
    family: Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")] = None,
    out: Annotated[Path, typer.Option("--json")] = FIGURES,
    keep: Annotated[bool, typer.Option(help="Leave checkpoints and graphs on disk.")] = False,
    only_prepare: Annotated[
        bool, typer.Option("--prepare", help="Export without timing; keep the graphs.")
    ] = False,
) -> None:
    """Export every headline checkpoint at its size; exits with 1 if one drifts from PyTorch."""
    before, failed = read_rows(out), []
    for name in family or registry():
        for checkpoint in stand_ins.builds(name, "real"):
            known = before.get(checkpoint)
            if known and known["code"] == code_of(name):
                continue
            try:
                _take(name, checkpoint, out, keep=keep, only_prepare=only_prepare)
            except ExportError as error:
                console.print(f"[red]{checkpoint}[/]: {error}", highlight=False)
                failed.append(checkpoint)
    if not only_prepare:
        rows = read_rows(out)
        Console(width=max(TABLE_WIDTH, console.width)).print(_table(rows))
        console.print(f"{len(rows)} checkpoints at real size in {out}")
    if failed:
        console.print("[red]not within tolerance:[/]", ", ".join(failed))
        raise typer.Exit(1)


def _take(family: str, checkpoint: str, out: Path, *, keep: bool, only_prepare: bool) -> None:
    """Write, export and check one checkpoint; time it, unless that is for later."""
    [path] = stand_ins.write(family, "real", STAND_INS / family, only=checkpoint).values()
    request, exported = prepare(family, path, WORK)
    if only_prepare:
        console.print(f"{checkpoint}: {exported.folder}")
    else:
        keep_row(out, measure(checkpoint, request, exported))
    if not keep:
        shutil.rmtree(STAND_INS / family / f"real-{checkpoint}")
    if not (keep or only_prepare):
        shutil.rmtree(exported.folder)


def read_rows(path: Path = FIGURES) -> dict[str, dict[str, Any]]:
    """Rows by checkpoint; empty if nothing was measured."""
    if not path.is_file():
        return {}
    return {row["checkpoint"]: row for row in json.loads(path.read_text())}


def keep_row(path: Path, row: CheckpointRow) -> None:
    """Put a row among those of other checkpoints."""
    rows = read_rows(path) | {row.checkpoint: asdict(row)}
    ordered = sorted(rows.values(), key=lambda one: (one["family"], one["checkpoint"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(ordered, indent=1) + "\n")


def _table(rows: dict[str, dict[str, Any]]) -> Table:
    table = Table("checkpoint", "network", title="Real sizes against PyTorch eager, one picture")
    for column in ("difference", "MB", "ONNX Runtime ms", "PyTorch ms", "ratio"):
        table.add_column(column, justify="right")
    for row in rows.values():
        for network in row["networks"]:
            ours, theirs = network["onnxruntime_ms"], network["pytorch_ms"]
            figures = (f"{network['difference']:.1e}", f"{network['megabytes']:.0f}")
            times = (f"{ours:.0f}", f"{theirs:.0f}", f"{theirs / ours:.2f}")
            table.add_row(row["checkpoint"], network["name"], *figures, *times)
    return table


if __name__ == "__main__":
    typer.run(main)
