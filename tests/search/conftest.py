from __future__ import annotations

from collections.abc import Iterator

import pytest
from fovea_client import Client, RetryPolicy
from fovea_search import Index, Job, Options, Servers, Store, Summary, sources
from fovea_search.servers import open_store

from tests.client.fake_triton import FakeTriton
from tests.search import colours

QUICK = RetryPolicy(first_delay_s=0.01, max_delay_s=0.05)


@pytest.fixture
def triton() -> Iterator[FakeTriton]:
    server = colours.server().start()
    yield server
    server.stop()


@pytest.fixture
def client(triton: FakeTriton) -> Iterator[Client]:
    with Client(triton.url, timeout_s=10, retry=QUICK) as opened:
        yield opened


@pytest.fixture
def store(client: Client, tmp_path) -> Store:
    return open_store(str(tmp_path / "store"), [client], "embed_objects", {})


@pytest.fixture
def run(store: Store, client: Client):
    """Indexes pictures, and returns the summary."""
    problems: list[tuple[str, str]] = []

    def call(*inputs: object, metadata=None, column=None, **options) -> Summary:
        found = sources.find(map(str, inputs), lambda *one: problems.append(one), column=column)
        servers = Servers([client], "embed_objects", store.made_by.settings)
        return Job(store, servers, Options(**options), metadata).run(found)

    call.problems = problems
    return call


@pytest.fixture
def index(store: Store, client: Client) -> Index:
    return Index(store, client)


def paths_of(store: Store) -> list[str]:
    """Paths of the store's pictures, sorted, with duplicates."""
    return sorted(known.path for known in store.known())
