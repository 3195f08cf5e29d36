"""Who answers for a picture: one server, or several that take turns."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fovea_client import Overloaded, Unavailable

from fovea_search.records import MadeBy, Objects

# A server that could not be reached is left alone for so long while another one is there.
REST_S = 10.0


class Answering(Protocol):
    """What the job asks of a client."""

    def embed_objects(self, image: bytes, /, **options: Any) -> Objects: ...


class Servers:
    """Clients of servers with the same members; the one with the fewest calls is asked next.

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

        Unavailable and Overloaded are raised once every server has been asked.
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


def made_by(client: Any, verb: str, settings: Mapping[str, float], dimensions: int) -> MadeBy:
    """What rows of this client follow from; `dimensions` of its vectors."""
    described = client.describe(verb)
    return MadeBy(dimensions, verb, dict(described.fingerprints), dict(settings))


__all__ = ["Answering", "Servers", "made_by"]
