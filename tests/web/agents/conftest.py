"""`fovea mcp` on the served demo, called by the SDK's own client over each of its transports."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client as McpClient
from mcp import StdioServerParameters
from mcp.types import CallToolResult, Tool

from demo.samples import FOLDER as SAMPLES

COMMAND = (sys.executable, "-c", "from fovea_client.cli import app; app()", "mcp")


class Agent:
    """A connected client of the SDK, called from a test's thread."""

    def __init__(self, portal: BlockingPortal, client: McpClient) -> None:
        self._portal, self.client = portal, client

    def tools(self) -> dict[str, Tool]:
        return {tool.name: tool for tool in self._portal.call(self.client.list_tools).tools}

    def call(self, name: str, **arguments: Any) -> CallToolResult:
        return self._portal.call(self.client.call_tool, name, arguments)

    def leave(self, name: str, **arguments: Any) -> None:
        """Make a call without waiting for its answer; raises MCPError."""
        leaving = partial(self.client.call_tool, name, arguments, read_timeout_seconds=0.1)
        self._portal.call(leaving)

    def record(self, name: str, **arguments: Any) -> dict[str, Any]:
        """The answer of a successful call; text and structured content are equal."""
        result = self.call(name, **arguments)
        assert not result.is_error, result.content[0].text
        assert json.loads(result.content[0].text) == result.structured_content
        return result.structured_content

    def refusal(self, name: str, **arguments: Any) -> str:
        """The message of a refused call."""
        result = self.call(name, **arguments)
        assert result.is_error
        return result.content[0].text


@contextmanager
def connected(server: Any) -> Iterator[Agent]:
    """An agent of a server, given in any form that `mcp.Client` accepts."""
    with start_blocking_portal() as portal:
        client = McpClient(server)
        with portal.wrap_async_context_manager(client):
            yield Agent(portal, client)


@contextmanager
def over_stdio(*options: str) -> Iterator[Agent]:
    command, *first = COMMAND
    with connected(StdioServerParameters(command=command, args=[*first, *options])) as agent:
        yield agent


@contextmanager
def http_address(*options: str) -> Iterator[str]:
    """The address of `fovea mcp --http` on a free port."""
    command = [*COMMAND, "--http", "--port", "0", "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


@contextmanager
def over_http(*options: str) -> Iterator[Agent]:
    with http_address(*options) as address, connected(address) as agent:
        yield agent


TRANSPORTS: dict[str, Callable[..., Any]] = {"stdio": over_stdio, "http": over_http}


@pytest.fixture(scope="module", params=TRANSPORTS)
def agent(request: pytest.FixtureRequest, url: str) -> Iterator[Agent]:
    with TRANSPORTS[request.param]("--url", url, "--folder", str(SAMPLES)) as opened:
        yield opened


@pytest.fixture
def photo() -> Path:
    return SAMPLES / "man-on-snowboard.jpg"
