"""The command `fovea mcp`; `fovea_client.cli` loads it on demand."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from fovea_client import InvalidInput, console
from fovea_client import options as common
from fovea_client.blocking import BlockingVerbs
from fovea_client.connection import DEFAULT_TIMEOUT_S, DEFAULT_URL
from fovea_client.runs import open_client
from mcp.server.lowlevel import Server

from fovea.limits import Limits
from fovea_web.agents.pictures import Folders
from fovea_web.agents.server import Toolbox, make_server, run_stdio
from fovea_web.agents.tools import Tool

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

HOST, DEFAULT_PORT = "127.0.0.1", 8010
# The largest picture in base64, and the request around it.
BODY_BYTES = Limits().image_bytes * 4 // 3 + 65_536


@app.callback()
def _main() -> None:
    """Tools for agents."""


@app.command()
def mcp(
    folder: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Pictures below it can be opened by path; repeatable. None by default.",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(metavar="STORE", help="An index of `fovea index`: adds the tool `search`."),
    ] = None,
    http: Annotated[
        bool, typer.Option("--http", help="Streamable HTTP on loopback instead of stdio.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of --http; 0 takes a free one.")
    ] = DEFAULT_PORT,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the address of --http as one line of JSON.")
    ] = False,
    url: common.Url = DEFAULT_URL,
    timeout: common.Timeout = DEFAULT_TIMEOUT_S,
    local: common.Local = None,
) -> None:
    """Serve the deployment's verbs as tools for language models (Model Context Protocol)."""
    with console.one_line_errors():
        folders = Folders(folder) if folder else None
        with open_client(url, timeout, local) as client:
            more = [] if store is None else [_search(store, client, folders)]
            server = make_server(Toolbox(client, folders, more))
            if http:
                _serve_http(server, port, as_json=as_json)
            else:
                run_stdio(server)


def _search(store: str, client: BlockingVerbs, folders: Folders | None) -> Tool:
    try:
        from fovea_search import Index, Store

        from fovea_web.agents import finding
    except ModuleNotFoundError as error:
        message = f"--store needs {error.name}: pip install 'fovea[search]'"
        raise InvalidInput(message) from error
    return finding.tool(Index(Store.open(store), client), folders)


def _serve_http(server: Server[Any], port: int, *, as_json: bool) -> None:
    """Serve until interrupted. The SDK refuses hosts and origins other than this machine's."""
    app = server.streamable_http_app(host=HOST, max_request_body_size=BODY_BYTES)
    listening = socket.create_server((HOST, port))
    address = f"http://{HOST}:{listening.getsockname()[1]}/mcp"
    if as_json:
        console.print_json({"url": address})
    else:
        typer.echo(f"tools for agents on {address}", err=True)
    config = uvicorn.Config(app, log_level="warning", lifespan="on")
    uvicorn.Server(config).run(sockets=[listening])
