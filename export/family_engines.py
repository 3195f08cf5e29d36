"""`python -m export.family_engines`: builds every family's networks with TensorRT for RTX.

Needs no GPU and no large checkpoint: a tiny one has all operators of its architecture. Rows are
saved one by one, so a stopped run continues where it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from export import lower_precision
from export.engines_rtx import ENGINE_PRECISIONS
from export.errors import ExportError
from export.family_checkpoints import requests
from export.members import MemberExport, code_of
from export.network import Network
from export.precision import Precision
from export.profiles import profile
from export.rtx_build import RTX, Outcome, isolated_build
from export.runtimes import RUNTIMES
from export.to_onnx import to_onnx
from fovea.families import registry
from fovea.limits import Limits

TARGETS = ("8.6", "8.9")
FIGURES = Path("docs/engines.json")
RUNTIME = RUNTIMES["tensorrt"]
console = Console()


@dataclass(frozen=True)
class Engine:
    """One network in one precision for one target; see `export.rtx_build.Outcome`."""

    network: str
    precision: Precision
    target: str
    outcome: Outcome


@dataclass(frozen=True)
class Engines:
    """All engines of a checkpoint. library: with its version. code: what decided the graphs."""

    family: str
    checkpoint: str
    engines: list[Engine]
    library: str
    code: str


def engines_of(request: MemberExport) -> Iterator[Engine]:
    """Every network of a checkpoint, in every precision, for every target."""
    with TemporaryDirectory() as folder:
        for network in request.open().networks:
            shapes = profile(network.spec, RUNTIME.limit(Limits()))
            for precision in ENGINE_PRECISIONS:
                path = Path(folder) / precision / f"{network.spec.name}.onnx"
                _write(network, path, precision)
                for target in TARGETS:
                    outcome = isolated_build(path, shapes, target)
                    yield Engine(network.spec.name, precision, target, outcome)


def _write(network: Network, path: Path, precision: Precision) -> None:
    to_onnx(network, path, grid_sample=RUNTIME.grid_sample)
    if precision != "fp32":
        lower_precision.lower(network.policy, path, precision)


def all_built(family: str, checkpoint: str, path: Path = FIGURES) -> bool | None:
    """Whether all engines of a checkpoint were built; None if not tried with this code."""
    row = read(path).get(checkpoint)
    if row is None or row["code"] != code_of(family):
        return None
    return all(is_built(engine) for engine in row["engines"])


def is_built(engine: dict[str, Any]) -> bool:
    """Whether a row's engine was built, with all nodes supported."""
    return bool(engine["outcome"]["built"] and not engine["outcome"]["unsupported"])


def read(path: Path = FIGURES) -> dict[str, dict[str, Any]]:
    """Rows by checkpoint; empty if nothing was built."""
    if not path.is_file():
        return {}
    return {row["checkpoint"]: row for row in json.loads(path.read_text())}


def main(
    family: Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")] = None,
    out: Annotated[Path, typer.Option("--json")] = FIGURES,
) -> None:
    """Build what was not built with this code; exits with 1 if an engine was not."""
    try:
        RTX.load()
    except ExportError as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        raise typer.Exit(1) from error
    rows = read(out)
    for name in family or registry():
        for checkpoint, request in requests(name).items():
            if rows.get(checkpoint, {}).get("code") == code_of(name):
                continue
            engines = []
            with console.status(checkpoint) as status:
                for engine in engines_of(request):
                    engines.append(engine)
                    status.update(f"{engine.network} {engine.precision} SM {engine.target}")
            library = f"{RTX.name} {RTX.version}"
            rows[checkpoint] = asdict(Engines(name, checkpoint, engines, library, code_of(name)))
            ordered = sorted(rows.values(), key=lambda row: (row["family"], row["checkpoint"]))
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text(json.dumps(ordered, indent=1) + "\n")
    console.print(_table(rows))
    if not all(is_built(engine) for row in rows.values() for engine in row["engines"]):
        raise typer.Exit(1)


def _table(rows: dict[str, dict[str, Any]]) -> Table:
    table = Table("family", "checkpoint", "built", "not built", title="TensorRT for RTX")
    for row in rows.values():
        built = [engine for engine in row["engines"] if is_built(engine)]
        failed = [engine for engine in row["engines"] if not is_built(engine)]
        told = ", ".join(f"{e['network']} {e['precision']} SM {e['target']}" for e in failed)
        table.add_row(row["family"], row["checkpoint"], str(len(built)), told or "none")
    return table


if __name__ == "__main__":
    typer.run(main)
