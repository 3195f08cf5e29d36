"""`python -m export`: three checkpoints to ONNX and a Triton model repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from export.checkpoints import SETS, find
from export.errors import ExportError
from export.pipeline import Export, run
from export.production import production_pipeline
from export.repository import write_repository

app = typer.Typer(add_completion=False, help=__doc__)
console = Console(stderr=True)


@app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    checkpoint_set: Annotated[
        str, typer.Option("--set", help=f"Named set: {', '.join(SETS)}.")
    ] = "demo",
    clip: Annotated[str | None, typer.Option(help="Hub id or folder instead.")] = None,
    grounding_dino: Annotated[str | None, typer.Option(help="Hub id or folder instead.")] = None,
    sam: Annotated[str | None, typer.Option(help="Hub id or folder instead.")] = None,
    grounding_dino_edge: Annotated[
        int | None, typer.Option(help="Cap GroundingDINO's picture at a square of this edge.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Default: build/export/SET.")] = None,
    force: Annotated[bool, typer.Option(help="Export again though nothing changed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest.")] = False,
) -> None:
    """Export three checkpoints; every network is checked against PyTorch."""
    if context.invoked_subcommand:
        return
    if checkpoint_set not in SETS:
        raise typer.BadParameter(f"expected one of {', '.join(SETS)}, got {checkpoint_set!r}")
    sources = dict(SETS[checkpoint_set])
    given = {"clip": clip, "grounding_dino": grounding_dino, "sam": sam}
    sources |= {family: source for family, source in given.items() if source}
    try:
        checkpoints = {family: find(family, source) for family, source in sources.items()}
        with Spinners() as report:
            manifest = run(
                Export(
                    checkpoints,
                    out or Path("build/export") / checkpoint_set,
                    grounding_dino_edge,
                    report,
                ),
                force=force,
            )
    except ExportError as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        raise typer.Exit(1) from error
    if as_json:
        print(json.dumps(manifest))
    else:
        console.print(_table(manifest))


@app.command()
def configs(out: Path = Path("model_repository")) -> None:
    """Write the production set's config.pbtxt and model.py files, without weights."""
    write_repository(out, production_pipeline())


class Spinners:
    """A spinner per network, as the `report` of an Export."""

    def __enter__(self):
        self.bar = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console
        )
        self.bar.start()
        self.tasks = {}
        return self.report

    def report(self, network: str, what: str) -> None:
        if network not in self.tasks:
            self.tasks[network] = self.bar.add_task("", total=1)
        done = what == "done"
        self.bar.update(self.tasks[network], description=f"{network}: {what}", completed=int(done))

    def __exit__(self, *exc) -> None:
        self.bar.stop()


def _table(manifest: dict) -> Table:
    table = Table(title="Exported networks, worst case against PyTorch")
    for column in ("network", "output", "MB", "difference", "rows", "cosine"):
        table.add_column(column, justify="left" if column in ("network", "output") else "right")
    for network in manifest["networks"]:
        for agreement in network["parity"]:
            table.add_row(
                network["name"],
                agreement["output"],
                f"{network['bytes'] / 1e6:.1f}",
                f"{agreement['difference']:.1e}",
                f"{agreement['rows']:.3f}",
                f"{agreement['cosine']:.6f}",
            )
    return table


if __name__ == "__main__":
    app()
