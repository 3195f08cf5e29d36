"""A client at the start and the end of a server's life and of its own, on the real server."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from fovea_client import AsyncClient, Client, DeadlineExceeded, Overloaded, UnknownVerb
from fovea_client.requests import Request
from fovea_server import EmbeddedServer

pytestmark = pytest.mark.server


def unknown_verb():
    yield Request("no_such_verb", {"TEXT": "cat"})


def test_a_verb_that_was_never_exported_is_reported_at_once(client: Client, url: str) -> None:
    with pytest.raises(UnknownVerb, match=f"the server at {url} has no 'no_such_verb'"):
        client._run(unknown_verb(), None)

    async def ask() -> None:
        async with AsyncClient(url) as waiting:
            await waiting._run(unknown_verb(), None)

    with pytest.raises(UnknownVerb):
        asyncio.run(ask())


def test_a_client_works_in_one_event_loop_after_another(url: str) -> None:
    client = AsyncClient(url)
    lengths = {len(asyncio.run(client.embed_text("a cat"))) for _ in range(2)}
    assert len(lengths) == 1
    asyncio.run(client.close())


def test_deadlines_that_pass_by_the_hundred_leave_the_server_alive(
    server: EmbeddedServer, samples
) -> None:
    pid, picture = server.pid, samples[0][0].read_bytes()
    with Client(server.grpc_url, timeout_s=0.02) as hurried:

        def ask(_: int) -> bool:
            try:
                hurried.detect_and_segment(picture, "car.")
            except DeadlineExceeded:
                return True
            except Overloaded:
                pass  # the server expects the wait to be longer than the deadline
            return False

        with ThreadPoolExecutor(16) as pool:
            assert any(pool.map(ask, range(300)))
    with Client(server.grpc_url) as patient:
        assert len(patient.embed_text("cat"))
    assert server.pid == pid and not server.recoveries.restarts
