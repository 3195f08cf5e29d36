"""`python -m fovea_server MODEL_REPOSITORY`: serve in the foreground."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from fovea_server import ServerOptions, serve

_DEFAULTS = ServerOptions(model_repository=Path())


def command(
    model_repository: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = _DEFAULTS.host,
    grpc_port: Annotated[int, typer.Option(help="0 takes a free one.")] = _DEFAULTS.grpc_port,
    http_port: Annotated[int, typer.Option(help="0 takes a free one.")] = _DEFAULTS.http_port,
    metrics_port: Annotated[int, typer.Option(help="0 takes a free one.")] = _DEFAULTS.metrics_port,
    model_control_mode: Annotated[
        str, typer.Option(help="explicit, none or poll.")
    ] = _DEFAULTS.model_control_mode,
    cache_size_mib: Annotated[
        int, typer.Option(help="Response cache; 0 for none.")
    ] = _DEFAULTS.cache_size_bytes // 2**20,
    exit_timeout_s: Annotated[
        int, typer.Option(help="Seconds that a stop waits for running requests.")
    ] = _DEFAULTS.exit_timeout_s,
    start_timeout_s: Annotated[
        float, typer.Option(help="Seconds that loading may take.")
    ] = _DEFAULTS.start_timeout_s,
    log_path: Annotated[Path | None, typer.Option(help="Triton's log.")] = None,
    verbosity: Annotated[int, typer.Option(help="Triton's verbose log level.")] = 0,
    triton_arg: Annotated[
        list[str] | None, typer.Option(help="One more argument for tritonserver; repeatable.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON line when ready.")] = False,
) -> None:
    """Serve a model repository with Triton until SIGTERM or Ctrl-C."""
    if model_control_mode not in ("explicit", "none", "poll"):
        raise typer.BadParameter("expected explicit, none or poll")
    options = ServerOptions(
        model_repository=model_repository,
        host=host,
        grpc_port=grpc_port,
        http_port=http_port,
        metrics_port=metrics_port,
        model_control_mode=model_control_mode,  # type: ignore[arg-type]
        cache_size_bytes=cache_size_mib * 2**20,
        exit_timeout_s=exit_timeout_s,
        start_timeout_s=start_timeout_s,
        log_path=log_path,
        verbosity=verbosity,
        extra_args=tuple(triton_arg or ()),
    )
    raise typer.Exit(serve(options, json_line=json))


def main(argv: list[str] | None = None) -> None:
    """Runs the command; exits with tritonserver's exit code."""
    app = typer.Typer(add_completion=False)
    app.command()(command)
    app(argv if argv is not None else sys.argv[1:], prog_name="python -m fovea_server")


if __name__ == "__main__":
    main()
