"""`python -m export.report`: compares every network with PyTorch at every batch and variant."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from export import parity
from export.deployments import Export, load, read_deployment
from export.network import Network
from export.parity import Agreement
from export.stand_ins import STAND_IN, stand_in
from export.to_onnx import to_onnx

console = Console()


def main(
    deployment: Annotated[str, typer.Option("--set", help="A deployment.")] = "demo",
    grounding_dino_edge: int | None = None,
    max_batch: Annotated[int | None, typer.Option(help="Largest batch to check.")] = None,
    work: Path = Path("build/parity"),
    out: Annotated[Path, typer.Option("--json")] = Path("build/parity.json"),
) -> None:
    """Trace each network of a deployment, or of the full-size stand-ins, and compare it."""
    chosen = (
        stand_in(work / "checkpoints") if deployment == STAND_IN else read_deployment(deployment)
    )
    if grounding_dino_edge:
        chosen = chosen.with_option("grounding_dino", "longest_edge", grounding_dino_edge)
    loaded = load(Export(chosen, work))
    agreements = [
        agreement
        for network in loaded.networks
        for agreement in _check(network, work / chosen.name, max_batch)
    ]
    record = [{"source": chosen.name, **asdict(agreement)} for agreement in agreements]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n")
    console.print(_table(agreements))
    console.print(f"{len(agreements)} comparisons, all within tolerance, in {out}")


def _check(network: Network, folder: Path, max_batch: int | None) -> list[Agreement]:
    path = folder / f"{network.spec.name}.onnx"
    with console.status(f"{network.spec.name}: tracing"):
        to_onnx(network, path)
    with console.status(f"{network.spec.name}: comparing"):
        return parity.check_network(network, path, max_batch=max_batch)


def _table(agreements: list[Agreement]) -> Table:
    table = Table(title="ONNX Runtime against PyTorch")
    for column in ("network", "output", "batch", "variant", "shape"):
        table.add_column(column)
    for column in ("difference", "rows", "cosine"):
        table.add_column(column, justify="right")
    for a in agreements:
        figures = (f"{a.difference:.1e}", f"{a.rows:.4f}", f"{a.cosine:.6f}")
        table.add_row(a.network, a.output, str(a.batch), str(a.variant), str(a.shape), *figures)
    return table


if __name__ == "__main__":
    typer.run(main)
