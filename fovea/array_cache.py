"""Keeps computed arrays within a given memory; evicts the least recently used."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from numpy.typing import NDArray


class ArrayCache:
    """Maps keys to arrays of together at most `max_bytes`; thread-safe.

    Values that depend on a network's weights live in a process whose configuration has their
    fingerprint (`fovea.members.Member`): new weights start a new process with an empty cache.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._arrays: OrderedDict[Hashable, NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> NDArray[Any] | None:
        """The array, read-only, or None."""
        with self._lock:
            if key not in self._arrays:
                return None
            self._arrays.move_to_end(key)
            return self._arrays[key]

    def put(self, key: Hashable, array: NDArray[Any]) -> None:
        """Keep an array; it must own its memory. One that is too large is not kept."""
        if array.nbytes > self._max_bytes:
            return
        with self._lock:
            former = self._arrays.pop(key, None)
            self._bytes += array.nbytes - (0 if former is None else former.nbytes)
            self._arrays[key] = array
            while self._bytes > self._max_bytes:
                self._bytes -= self._arrays.popitem(last=False)[1].nbytes
