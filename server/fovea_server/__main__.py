"""`python -m fovea_server MODEL_REPOSITORY [flags] [-- tritonserver flags]`: serve in front."""

import argparse
import dataclasses
import sys
import types
import typing
from pathlib import Path

from fovea_server import ServerOptions, serve

_ABOUT = "Serve a model repository with Triton. What follows a lone -- goes to tritonserver."


def parser() -> argparse.ArgumentParser:
    """One flag for each field of ServerOptions but the last, with its help, and `--json`."""
    made = argparse.ArgumentParser(prog="python -m fovea_server", description=_ABOUT)
    hints = typing.get_type_hints(ServerOptions)
    for option in dataclasses.fields(ServerOptions):
        if option.name == "extra_args":
            continue
        text = option.metadata["help"]
        if option.default is dataclasses.MISSING:
            made.add_argument(option.name, type=Path, help=text)
            continue
        shown = text.replace("%", "%%") + " (default: %(default)s)"
        flag = f"--{option.name.replace('_', '-')}"
        made.add_argument(flag, default=option.default, help=shown, **_kind(hints[option.name]))
    made.add_argument("--json", action="store_true", help="print one line of JSON when ready")
    return made


def main(argv: list[str] | None = None) -> int:
    """Serves until SIGTERM or Ctrl-C; tritonserver's exit code."""
    options, json_line = parse(sys.argv[1:] if argv is None else argv)
    return serve(options, json_line=json_line)


def parse(argv: list[str]) -> tuple[ServerOptions, bool]:
    """The options, and whether `--json` was given; what follows a lone `--` is for tritonserver."""
    split = argv.index("--") if "--" in argv else len(argv)
    arguments = vars(parser().parse_args(argv[:split]))
    json_line = arguments.pop("json")
    lists = {name: tuple(value) for name, value in arguments.items() if isinstance(value, list)}
    options = ServerOptions(**{**arguments, **lists, "extra_args": tuple(argv[split + 1 :])})
    return options, json_line


def _kind(hint: object) -> dict[str, typing.Any]:
    """The argparse keywords for a type hint of ServerOptions."""
    origin, members = typing.get_origin(hint), typing.get_args(hint)
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    if origin is typing.Literal:
        return {"choices": members}
    if origin is tuple:
        return {"nargs": "*", "type": members[0]}
    return {"type": members[0] if origin is types.UnionType else hint}


if __name__ == "__main__":
    sys.exit(main())
