"""Searches of one process in a store, and what it holds: run where nothing else has been loaded."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fovea_search import Store
from numpy.typing import NDArray

K = 20
# Before the first is timed: the index is read by need.
WARM_UP = 20


@dataclass(frozen=True)
class Searched:
    """recall: of the true K nearest. least: rows that the shortest answer had. rss_mb: at most."""

    recall: float
    least: int
    p50_ms: float
    p99_ms: float
    rss_mb: float


def ask(
    uri: str,
    queries: NDArray[np.float32],
    truth: Mapping[str, NDArray[np.str_]],
    conditions: Mapping[str, str | None],
) -> dict[str, Searched]:
    """Each query under each condition; truth: by condition the ids of the nearest, [Q, K]."""
    store = Store.open(uri)
    return {name: _ask(store, queries, truth[name], where) for name, where in conditions.items()}


def _ask(
    store: Store, queries: NDArray[np.float32], truth: NDArray[np.str_], where: str | None
) -> Searched:
    def search(vector: NDArray[np.float32]) -> list[str]:
        found: list[str] = store.nearest(vector, "object", where, ["id"], K)["id"]
        return found

    for vector in queries[:WARM_UP]:
        search(vector)
    seconds, hits, counts = list[float](), 0, list[int]()
    for vector, expected in zip(queries, truth, strict=True):
        start = time.perf_counter()
        found = search(vector)
        seconds.append(time.perf_counter() - start)
        ids = [str(one) for one in found]
        hits, counts = hits + len(set(ids) & set(expected.tolist())), [*counts, len(ids)]
    times: Any = np.percentile(seconds, [50, 99]) * 1000
    return Searched(hits / truth.size, min(counts), float(times[0]), float(times[1]), _peak_mb())


def _peak_mb() -> float:
    """Memory of this process at most; `ru_maxrss` would count the parent's from before the exec."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
