"""`python -m export`: three checkpoints to ONNX and a Triton model repository."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from export.checkpoints import SETS, find
from export.engines import make_all
from export.errors import ExportError
from export.grid_sample import FORMS
from export.pipeline import Export, run
from export.precision import PRECISIONS
from export.production import production_pipeline
from export.repository import write_repository
from export.runtimes import ONNXRUNTIME, RUNTIMES
from export.to_engine import LIBRARIES, local_compute_capability
from fovea.pipeline import Settings
from fovea.specs import from_json

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
    precision: Annotated[str, typer.Option(help=f"One of {', '.join(PRECISIONS)}.")] = "fp32",
    runtime: Annotated[str, typer.Option(help=f"One of {', '.join(RUNTIMES)}.")] = ONNXRUNTIME.name,
    grid_sample: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(FORMS)}; default: the runtime's choice.")
    ] = None,
    max_batch: Annotated[int | None, typer.Option(help="Largest batch to check.")] = None,
    engines: Annotated[
        bool | None,
        typer.Option(
            help="With --runtime tensorrt: build them now; default: where a GPU is.",
        ),
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(help="This machine's, as JSON: what `python -m benchmarks.tune` wrote."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Default: build/export/SET[-PRECISION][-RUNTIME].")
    ] = None,
    force: Annotated[bool, typer.Option(help="Export again though nothing changed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest.")] = False,
) -> None:
    """Export three checkpoints; every network is checked against PyTorch."""
    if context.invoked_subcommand:
        return
    _check_choice(checkpoint_set, SETS)
    _check_choice(precision, PRECISIONS)
    _check_choice(runtime, RUNTIMES)
    _check_choice(grid_sample or FORMS[0], FORMS)
    sources = dict(SETS[checkpoint_set])
    given = {"clip": clip, "grounding_dino": grounding_dino, "sam": sam}
    sources |= {family: source for family, source in given.items() if source}
    try:
        checkpoints = {family: find(family, source) for family, source in sources.items()}
        with Spinners() as report:
            export = Export(
                checkpoints,
                out or default_folder(checkpoint_set, precision, runtime),
                grounding_dino_edge,
                report,
                precision,
                RUNTIMES[runtime],
                grid_sample,
                max_batch,
                read_settings(settings) if settings else None,
            )
            manifest = run(export, force=force)
        if RUNTIMES[runtime].needs_engines:
            _place_engines(export.out, engines, force)
    except ExportError as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        raise typer.Exit(1) from error
    if as_json:
        print(json.dumps(manifest))
    else:
        console.print(_table(manifest))


def read_settings(path: Path) -> Settings:
    """The settings in a JSON file; raises ExportError where they are not what they should be."""
    try:
        return from_json(Settings, path.read_text())
    except (OSError, TypeError, ValueError) as error:
        raise ExportError(f"{path} holds no settings: {error}") from error


def _place_engines(folder: Path, wanted: bool | None, force: bool) -> None:
    """The engines of an export for engines, where this machine can build and check them."""
    if wanted is None and local_compute_capability() is None:
        console.print(f"No engines yet. On the target GPU: python -m export.engines {folder}")
    elif wanted is not False:
        make_all(folder, LIBRARIES["tensorrt"], force=force)


def default_folder(checkpoint_set: str, precision: str, runtime: str) -> Path:
    """Each combination has its own; the plain one has the set's name."""
    parts = [checkpoint_set]
    parts += [precision] if precision != "fp32" else []
    parts += [runtime] if runtime != ONNXRUNTIME.name else []
    return Path("build/export") / "-".join(parts)


def _check_choice(value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise typer.BadParameter(f"expected one of {', '.join(choices)}, got {value!r}")


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
