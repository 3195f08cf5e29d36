"""`python -m fovea_server MODEL_REPOSITORY [flags] [-- tritonserver flags]`: serve in front."""

import dataclasses
import inspect
import sys
import typing
from pathlib import Path
from typing import Annotated, Any

import typer

from fovea_server import ServerOptions, serve

_ABOUT = "Serve a model repository with Triton. Flags after a lone -- go to tritonserver."
_LIST = tuple[str, ...]


def main() -> None:
    """Serve until SIGTERM or Ctrl-C; exits with tritonserver's exit code."""
    arguments, extra = _split(sys.argv[1:])

    def run(*, json_line: bool, **given: Any) -> None:
        raise typer.Exit(serve(_options(given, extra), json_line=json_line))

    _app(run)(arguments, prog_name="python -m fovea_server")


def parse(argv: list[str]) -> tuple[ServerOptions, bool]:
    """The options, and whether `--json` was given; raises click's UsageError."""
    arguments, extra = _split(argv)

    def options(*, json_line: bool, **given: Any) -> tuple[ServerOptions, bool]:
        return _options(given, extra), json_line

    parsed: tuple[ServerOptions, bool] = _app(options)(arguments, standalone_mode=False)
    return parsed


def _split(argv: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """The arguments before and after a lone `--`."""
    split = argv.index("--") if "--" in argv else len(argv)
    return argv[:split], tuple(argv[split + 1 :])


def _options(given: dict[str, Any], extra: tuple[str, ...]) -> ServerOptions:
    hints = typing.get_type_hints(ServerOptions)
    lists = {name: tuple(text.split()) for name, text in given.items() if hints[name] == _LIST}
    return ServerOptions(**{**given, **lists, "extra_args": extra})


def _app(command: typing.Callable[..., object]) -> typer.Typer:
    """The command, with a flag for each field of ServerOptions but the last, and `--json`."""
    hints = typing.get_type_hints(ServerOptions)
    fields = [f for f in dataclasses.fields(ServerOptions) if f.name != "extra_args"]
    parameters = [_parameter(field, hints[field.name]) for field in fields]
    as_json = Annotated[bool, typer.Option("--json", help="Print one line of JSON when ready.")]
    parameters.append(_keyword("json_line", as_json, False))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in parameters}
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(help=_ABOUT)(command)
    return app


def _parameter(field: "dataclasses.Field[Any]", hint: Any) -> inspect.Parameter:
    text = field.metadata["help"]
    if field.default is dataclasses.MISSING:
        argument = Annotated[Path, typer.Argument(help=text)]
        return _keyword(field.name, argument, inspect.Parameter.empty)
    if hint == _LIST:
        option = Annotated[str, typer.Option(help=f"{text}; with spaces between them")]
        return _keyword(field.name, option, " ".join(field.default))
    return _keyword(field.name, Annotated[hint, typer.Option(help=text)], field.default)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


if __name__ == "__main__":
    main()
