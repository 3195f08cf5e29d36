"""A gateway on a free loopback port, in front of the real Triton with the demo or a fake."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest
import uvicorn
from fovea_web.app import make_app
from fovea_web.settings import Settings

from demo.samples import FOLDER as SAMPLES
from tests.client.fake_triton import FakeTriton

START_S = 20.0


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """A running gateway's address."""
    config = uvicorn.Config(
        make_app(settings), port=0, log_level="warning", proxy_headers=False, server_header=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + START_S
    while not server.started:
        assert thread.is_alive() and time.monotonic() < deadline, "the gateway did not start"
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(START_S)


@contextmanager
def asking(settings: Settings, **options: object) -> Iterator[httpx2.Client]:
    """A caller of a separate gateway."""
    with served(settings) as address, httpx2.Client(base_url=address, timeout=60, **options) as it:
        yield it


@pytest.fixture(scope="session")
def gateway(url: str) -> Iterator[str]:
    """The address of a gateway in front of the demo."""
    with served(Settings(url=url, samples=SAMPLES, rate="100000/minute")) as address:
        yield address


@pytest.fixture(scope="session")
def web(gateway: str) -> Iterator[httpx2.Client]:
    """A caller of that gateway."""
    with httpx2.Client(base_url=gateway, timeout=60) as caller:
        yield caller


@pytest.fixture
def triton() -> Iterator[FakeTriton]:
    server = FakeTriton().start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def snowboard() -> bytes:
    return (SAMPLES / "man-on-snowboard.jpg").read_bytes()
