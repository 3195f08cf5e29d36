"""`python -m export DEPLOYMENT`: checkpoints to ONNX and a Triton model repository."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from export.deployments import DEPLOYMENTS, Export, read_deployment, run
from export.engines import make_all
from export.errors import ExportError
from export.grid_sample import FORMS
from export.licences import is_non_commercial
from export.members import MEMBERS
from export.precision import PRECISIONS
from export.runtimes import ONNXRUNTIME, RUNTIMES
from export.to_engine import LIBRARIES, local_compute_capability
from fovea.deployment_file import DeploymentFile
from fovea.machine_settings import MachineSettings
from fovea.specs import from_json
from fovea.verbs import InvalidDeployment

app = typer.Typer(add_completion=False, help=__doc__)
console = Console(stderr=True)


@app.command()
def main(
    deployment: Annotated[
        str | None,
        typer.Argument(
            help=f"A TOML file, or one that comes with the project: {', '.join(DEPLOYMENTS)}."
        ),
    ] = None,
    named: Annotated[
        str | None, typer.Option("--set", help="The same, as an option. Default: demo.")
    ] = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(help="MEMBER=SOURCE: a hub id or folder instead of the member's; repeatable."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="MEMBER.NAME=NUMBER, as in grounding_dino.longest_edge=800; repeatable."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(PRECISIONS)}; default: the deployment's.")
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(RUNTIMES)}; default: the deployment's.")
    ] = None,
    grid_sample: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(FORMS)}; default: the runtime's choice.")
    ] = None,
    max_batch: Annotated[int | None, typer.Option(help="Largest batch to check.")] = None,
    engines: Annotated[
        bool | None,
        typer.Option(
            help="With --runtime tensorrt: build them now; default: if there is a GPU.",
        ),
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(help="This machine's settings, the JSON of `python -m benchmarks.tune`."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Default: build/export/DEPLOYMENT[-PRECISION][-RUNTIME].")
    ] = None,
    members: Annotated[
        Path | None,
        typer.Option(help="Where members are kept. Default: build/members, or OUT/members."),
    ] = None,
    force: Annotated[bool, typer.Option(help="Export again even if nothing changed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest.")] = False,
) -> None:
    """Export the members of a deployment; every network is checked against PyTorch."""
    if deployment and named:
        raise typer.BadParameter(f"expected one deployment, got {deployment!r} and {named!r}")
    _check_choice(precision or PRECISIONS[0], PRECISIONS)
    _check_choice(runtime or ONNXRUNTIME.name, RUNTIMES)
    _check_choice(grid_sample or FORMS[0], FORMS)
    try:
        chosen = _chosen(deployment or named or "demo", checkpoint or [], option or [])
        with Spinners() as report:
            export = Export(
                chosen,
                out or default_folder(chosen, precision, runtime),
                report,
                precision=precision,
                runtime=RUNTIMES[runtime] if runtime else None,
                grid_sample=grid_sample,
                max_batch=max_batch,
                settings=read_settings(settings) if settings else None,
                members=members or (out / "members" if out else MEMBERS),
            )
            manifest = run(export, force=force)
        _warn_of_licences(manifest)
        if export.form.runtime.needs_engines:
            _place_engines(export.out, engines, force=force)
    except ExportError as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        raise typer.Exit(1) from error
    if as_json:
        print(json.dumps(manifest))
    else:
        console.print(_table(manifest))


def _warn_of_licences(manifest: dict[str, Any]) -> None:
    """Print one line for each member whose weights may not be used commercially."""
    for member in manifest["deployment"]["members"]:
        if is_non_commercial(member["licence"]):
            console.print(
                f"[yellow]{member['name']}[/]: the licence of its weights is "
                f"{member['licence']}: not for commercial use",
                highlight=False,
            )


def _chosen(name: str, checkpoints: list[str], options: list[str]) -> DeploymentFile:
    """The deployment with the overrides of the command line; raises ExportError."""
    chosen = read_deployment(name)
    try:
        for row in checkpoints:
            member, source = _pair("--checkpoint", row)
            chosen = chosen.with_checkpoints({member: source})
        for row in options:
            key, value = _pair("--option", row)
            member, _, option = key.partition(".")
            chosen = chosen.with_option(member, option, int(value) if value.isdecimal() else value)
    except InvalidDeployment as error:
        raise ExportError(str(error)) from error
    return chosen


def _pair(option: str, row: str) -> tuple[str, str]:
    key, equals, value = row.partition("=")
    if not (key and equals and value):
        raise typer.BadParameter(f"{option}: expected NAME=VALUE, got {row!r}")
    return key, value


def read_settings(path: Path) -> MachineSettings:
    """The settings in a JSON file; raises ExportError if they are invalid."""
    try:
        return from_json(MachineSettings, path.read_text())
    except (OSError, TypeError, ValueError) as error:
        raise ExportError(f"{path} holds no settings: {error}") from error


def _place_engines(folder: Path, wanted: bool | None, *, force: bool) -> None:
    """Build the engines of an export for engines, if this machine can build and check them."""
    if wanted is None and local_compute_capability() is None:
        console.print(f"No engines yet. On the target GPU: python -m export.engines {folder}")
    elif wanted is not False:
        make_all(folder, LIBRARIES["tensorrt"], force=force)


def default_folder(
    deployment: DeploymentFile, precision: str | None = None, runtime: str | None = None
) -> Path:
    """A folder for each combination; the plain one is named after the deployment."""
    serving = deployment.serving
    parts = [deployment.name]
    parts += [precision] if precision and precision != serving.precision else []
    parts += [runtime] if runtime and runtime != serving.runtime else []
    return Path("build/export") / "-".join(parts)


def _check_choice(value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise typer.BadParameter(f"expected one of {', '.join(choices)}, got {value!r}")


class Spinners:
    """A spinner for each network; its `report` goes into an Export."""

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
