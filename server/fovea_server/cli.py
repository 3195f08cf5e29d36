"""`fovea serve`, which the `fovea` command loads on demand."""

from pathlib import Path
from typing import Annotated, Any

import typer

import fovea_server

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _main() -> None:
    """Make the app a group, in which the `fovea` command looks for `serve`."""


def _repository(folder: Path | None, deployment: str | None) -> Path:
    """The folder to serve: the given one, or what `python -m export DEPLOYMENT` wrote."""
    if folder and deployment:
        raise typer.BadParameter("give --model-repository or --deployment, and not both")
    if deployment is None:
        return folder or Path("model_repository")
    exported = Path("build/export") / Path(deployment).stem / "model_repository"
    if not exported.is_dir():
        raise typer.BadParameter(f"nothing is in {exported}: python -m export {deployment}")
    return exported


@app.command()
def serve(
    model_repository: Annotated[
        Path | None, typer.Option(help="Folder with one folder for each model.", exists=True)
    ] = None,
    deployment: Annotated[
        str | None,
        typer.Option(help="The argument of `python -m export`: serves build/export/NAME."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    http_port: Annotated[int | None, typer.Option(help="0 takes a free one.")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="0 takes a free one.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="0 takes a free one.")] = None,
    verify_checksums: Annotated[
        bool | None,
        typer.Option(
            "--verify-checksums/--no-verify-checksums",
            help="Whether to refuse files that differ from the export; by default it does.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the addresses as one line of JSON when ready.")
    ] = False,
) -> None:
    """Start Triton with the model repository, in the foreground."""
    given = {
        "host": host,
        "http_port": http_port,
        "grpc_port": grpc_port,
        "metrics_port": metrics_port,
        "verify_checksums": verify_checksums,
    }
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    repository = _repository(model_repository, deployment)
    options = fovea_server.ServerOptions(model_repository=repository, **chosen)
    raise typer.Exit(fovea_server.serve(options, json_line=as_json))
