"""Commands of `fovea` from other packages, each loaded when it is called."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from fovea_client import console


@dataclass(frozen=True)
class LoadedCommand:
    """A command of a package that takes up to a second to load.

    extra: what `pip` installs for it.
    """

    module: str
    extra: str
    help: str

    def load(self, name: str) -> Any:
        try:
            module = import_module(self.module)
        except ModuleNotFoundError as error:
            console.print_error(f"{name} needs {error.name}: pip install 'fovea[{self.extra}]'")
            raise typer.Exit(console.INVALID) from error
        group: Any = typer.main.get_command(module.app)
        return group.commands[name]


LOADED = {
    "serve": LoadedCommand(
        "fovea_server.cli",
        "server",
        "Start Triton with the model repository, in the foreground.",
    ),
    "index": LoadedCommand(
        "fovea_search.cli",
        "search",
        "Put every object of pictures into a store, or maintain the store.",
    ),
    "search": LoadedCommand(
        "fovea_search.cli",
        "search",
        "Find objects, or pictures, in a store by words, by an example, or by both.",
    ),
    "mcp": LoadedCommand(
        "fovea_web.agents.cli", "mcp", "Serve the verbs as tools for language models."
    ),
    "web": LoadedCommand(
        "fovea_web.cli", "web", "Serve the verbs over HTTP, and a page to try them."
    ),
    "web-keys": LoadedCommand("fovea_web.cli", "web", "Keys that callers of `fovea web` show."),
}


class Commands(TyperGroup):
    """The command's own commands, and those of other packages."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *LOADED]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in LOADED:
            return TyperCommand(cmd_name, help=LOADED[cmd_name].help)
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] in LOADED:
            return args[0], LOADED[args[0]].load(args[0]), args[1:]
        return super().resolve_command(ctx, args)
