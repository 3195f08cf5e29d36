"""Calls one server for each picture, or several that take turns."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from fovea_client import Objects, Overloaded, Unavailable

from fovea_search.records import MadeBy
from fovea_search.store import Store

# The default verb, unless the deployment has another name for it.
VERB = "embed_objects"
# A server that could not be reached is skipped for this long if there is another one.
REST_S = 10.0


class Answering(Protocol):
    """The part of a client that the job uses."""

    @property
    def embed_objects(self) -> Callable[..., Objects]: ...


class Servers:
    """Clients of servers with the same members; the one with the fewest calls is next.

    settings: of `embed_objects`, sent with every picture.
    """

    def __init__(
        self, clients: Sequence[Answering], verb: str, settings: Mapping[str, float]
    ) -> None:
        self._clients, self._verb, self._settings = list(clients), verb, dict(settings)
        self._lock = threading.Lock()
        self._calls = [0] * len(self._clients)
        self._rests_until = [0.0] * len(self._clients)

    def embed_objects(self, data: bytes) -> Objects:
        """The objects of an encoded picture; raises what the client does.

        Raises Unavailable and Overloaded once every server has been tried.
        """
        tried: set[int] = set()
        while True:
            index = self._take(tried)
            try:
                return self._clients[index].embed_objects(data, verb=self._verb, **self._settings)
            except (Unavailable, Overloaded):
                tried.add(index)
                self._rests_until[index] = time.monotonic() + REST_S
                if len(tried) == len(self._clients):
                    raise
            finally:
                with self._lock:
                    self._calls[index] -= 1

    def _take(self, tried: set[int]) -> int:
        with self._lock:
            now = time.monotonic()
            left = [i for i in range(len(self._clients)) if i not in tried]
            index = min(left, key=lambda i: (self._rests_until[i] > now, self._calls[i]))
            self._calls[index] += 1
            return index


def open_store(
    where: str, clients: Sequence[Any], verb: str, settings: Mapping[str, float]
) -> Store:
    """The store for these clients' results, a new one if there is none.

    Without settings, a store keeps those that it was created with. Raises OtherMembers if the store
    or one of the servers has other members, UnknownVerb if one has no such verb.
    """
    described = [client.describe(verb) for client in clients]
    if not settings and Store.is_there(where):
        settings = Store.open(where).made_by.settings
    dimensions = len(clients[0].embed_text("a"))
    first, *others = (
        MadeBy(dimensions, verb, dict(one.fingerprints), dict(settings)) for one in described
    )
    for other in others:
        first.check_same(other)
    return Store.create(where, first)
