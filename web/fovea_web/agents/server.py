"""The server of the Model Context Protocol: lists the tools, calls them, and reports errors."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import anyio
from anyio import CapacityLimiter, to_thread
from fovea_client import FoveaError
from fovea_client.blocking import BlockingVerbs
from fovea_client.console import printable
from mcp import types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPError

from fovea import __version__
from fovea_web.agents import arguments, tools
from fovea_web.agents.pictures import Folders
from fovea_web.agents.tools import Reply, Tool

INSTRUCTIONS = (
    "fovea finds, cuts out and searches for things in pictures. You name the objects of the "
    "user's description as short noun phrases; fovea finds them. Boxes are [x1, y1, x2, y2] in "
    "pixels of the upright picture, mask_area is in pixels. Set annotated=true to see or to show "
    "the results."
)
# Most calls that wait for an answer at once.
CONCURRENCY = 16
READS_ALONE = types.ToolAnnotations(
    read_only_hint=True, idempotent_hint=True, open_world_hint=False
)

Context = ServerRequestContext[Any]


class Toolbox:
    """The tools for the verbs that are served now; thread-safe.

    more: tools besides the deployment's own.
    """

    def __init__(
        self, client: BlockingVerbs, folders: Folders | None, more: Sequence[Tool] = ()
    ) -> None:
        self._client, self._folders, self._more = client, folders, tuple(more)
        self._lock = threading.Lock()
        self._known: dict[str, Tool] = {}

    def tools(self) -> list[Tool]:
        """The server's current tools; raises the errors of `Client.verbs`."""
        found = tools.of_deployment(self._client, self._folders, self._client.verbs())
        with self._lock:
            self._known = {tool.name: tool for tool in (*found, *self._more)}
            return list(self._known.values())

    def tool(self, name: str) -> Tool | None:
        """Look up a tool by name; asks the server again if it is new."""
        if name not in self._known:
            self.tools()
        return self._known.get(name)

    def names(self) -> list[str]:
        return sorted(self._known)


def make_server(toolbox: Toolbox) -> Server[Any]:
    """The server, for any transport of the SDK."""
    limiter = CapacityLimiter(CONCURRENCY)

    async def in_thread(call: Callable[..., Any], *given: Any) -> Any:
        """Stops waiting when the caller leaves; the call itself runs to its end."""
        return await to_thread.run_sync(call, *given, limiter=limiter, abandon_on_cancel=True)

    async def list_tools(
        _: Context, __: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        try:
            found = await in_thread(toolbox.tools)
        except FoveaError as error:
            raise MCPError(types.INTERNAL_ERROR, _message(error)) from error
        return types.ListToolsResult(tools=[_to_mcp(tool) for tool in found])

    async def call_tool(_: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            tool = await in_thread(toolbox.tool, params.name)
            if tool is None:
                raise MCPError(types.INVALID_PARAMS, _unknown(params.name, toolbox.names()))
            given = arguments.check(tool.arguments, params.arguments)
            return _answer(await in_thread(tool.call, given))
        except FoveaError as error:
            text = types.TextContent(text=_message(error))
            return types.CallToolResult(content=[text], is_error=True)

    return Server(
        "fovea",
        version=__version__,
        title="fovea",
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def run_stdio(server: Server[Any]) -> None:
    """Serve the process that started this one, until it closes the pipe.

    The loop has its own thread: one that reads stdin cannot be interrupted, so Ctrl-C would wait
    for a line of input, and daemon threads end with the main thread.
    """
    ended: Future[None] = Future()

    async def serve() -> None:
        async with stdio_server() as (reads, writes):
            await server.run(reads, writes, server.create_initialization_options())

    def run() -> None:
        try:
            anyio.run(serve)
        except BaseException as error:
            ended.set_exception(error)
        else:
            ended.set_result(None)

    threading.Thread(target=run, daemon=True).start()
    ended.result()


def _to_mcp(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=arguments.schema_of(tool.arguments),
        annotations=READS_ALONE,
    )


def _answer(reply: Reply) -> types.CallToolResult:
    """The record as text for a model, and as structured content for programs."""
    text = json.dumps(reply.record, ensure_ascii=False, separators=(",", ":"))
    content: list[types.ContentBlock] = [types.TextContent(text=text)]
    if reply.jpeg is not None:
        content.append(types.ImageContent(data=reply.jpeg, mime_type="image/jpeg"))
    return types.CallToolResult(content=content, structured_content=dict(reply.record))


def _message(error: FoveaError) -> str:
    return printable(f"{type(error).__name__}: {error}")


def _unknown(name: str, known: Sequence[str]) -> str:
    return printable(f"there is no tool {name[:80]!r}, expected one of {', '.join(known)}")
