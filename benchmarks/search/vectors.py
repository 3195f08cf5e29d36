"""A store of clustered vectors: recall, time and memory of searches, and what upkeep costs.

Objects stand around centres of Zipf-like sizes, as pictures do; they are made in chunks, so that
memory holds none but the chunk and the truth, which is the exact scan's.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from fovea_search import MadeBy, Store
from fovea_search.store import Written
from fovea_search.vectors import unit
from numpy.typing import NDArray
from rich.progress import track

from benchmarks.search.asking import K, Searched, ask

DIMENSIONS, CENTRES, CHUNK, QUERIES = 512, 2_000, 50_000, 200
OBJECTS_A_PICTURE, MASK_BYTES = 5, 180
# Share of a chunk's rows that come after the index.
UNINDEXED = 0.05
DELETED = 11
# `area` is uniform and independent of the vectors, so that each keeps that share of the rows.
CONDITIONS = {"no filter": None, "10 %": "area < 0.1", "1 %": "area < 0.01"}

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class World:
    """centres [C, D] of length 1; shares [C] sum up to 1; spread [C]: noise of each centre."""

    centres: Floats
    shares: NDArray[np.float64]
    spread: Floats

    @classmethod
    def of(cls, rng: np.random.Generator) -> World:
        """Sizes fall as 1/rank, the spread is between tight and loose."""
        centres = unit(rng.normal(size=(CENTRES, DIMENSIONS)).astype(np.float32))
        shares = 1 / np.arange(1, CENTRES + 1)
        spread = rng.uniform(0.4, 1.2, CENTRES).astype(np.float32)
        return cls(centres, shares / shares.sum(), spread)

    def draw(self, rng: np.random.Generator, count: int) -> Floats:
        """float32 [count, D], of length 1."""
        chosen = rng.choice(len(self.centres), count, p=self.shares)
        noise = rng.standard_normal((count, DIMENSIONS), np.float32) / np.sqrt(DIMENSIONS)
        # A weak power law: the noise falls with the dimension, but hundreds hold it.
        noise *= (np.arange(1, DIMENSIONS + 1) ** -0.25).astype(np.float32) * 2
        return unit(self.centres[chosen] + noise * self.spread[chosen, None])


@dataclass(frozen=True)
class Chunk:
    """Objects from number `start` on: vectors [N, D] of length 1, areas [N]."""

    start: int
    vectors: Floats
    areas: Floats

    def ids(self) -> list[str]:
        """Of the objects."""
        return [
            f"{number // OBJECTS_A_PICTURE:012d}:{number % OBJECTS_A_PICTURE}"
            for number in range(self.start, self.start + len(self.vectors))
        ]

    def pictures(self) -> list[str]:
        """Their pictures."""
        first, last = self.start, self.start + len(self.vectors)
        numbers = range(first // OBJECTS_A_PICTURE, last // OBJECTS_A_PICTURE)
        return [f"{number:012d}" for number in numbers]


def chunks(world: World, rng: np.random.Generator, rows: int, start: int = 0) -> Iterator[Chunk]:
    """`rows` objects, whole pictures each time."""
    for first in range(start, start + rows, CHUNK):
        count = min(CHUNK, start + rows - first)
        yield Chunk(first, world.draw(rng, count), rng.random(count, np.float32))


def written(chunk: Chunk, schema: pa.Schema) -> Written:
    """The rows of a chunk: pictures, whose vector is that of their first object, and objects."""
    pictures, count = chunk.pictures(), len(chunk.vectors)
    first = chunk.vectors[::OBJECTS_A_PICTURE]
    mask = np.random.default_rng(chunk.start).bytes(count * MASK_BYTES)
    of_object = {
        "id": pa.array(chunk.ids()),
        "kind": pa.array(["object"] * count),
        "picture": pa.array(np.repeat(pictures, OBJECTS_A_PICTURE)),
        "area": pa.array(chunk.areas),
        "mask": pa.array([mask[i : i + MASK_BYTES] for i in range(0, len(mask), MASK_BYTES)]),
        "vector": _vectors(chunk.vectors),
    }
    of_picture = {
        "id": pa.array(pictures),
        "kind": pa.array(["picture"] * len(pictures)),
        "picture": pa.array(pictures),
        "path": pa.array([f"/photos/{name}.jpg" for name in pictures]),
        "vector": _vectors(first),
    }
    tables = [_table(columns, schema) for columns in (of_picture, of_object)]
    return Written(dict.fromkeys(pictures), pa.concat_tables(tables))


def _vectors(vectors: Floats) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIMENSIONS)


def _table(columns: dict[str, pa.Array], schema: pa.Schema) -> pa.Table:
    rows = len(columns["id"])
    filled = [columns.get(one.name, pa.nulls(rows, one.type)) for one in schema]
    return pa.Table.from_arrays(filled, schema=schema)


class Truth:
    """The exact nearest of queries [Q, D], chunk by chunk."""

    def __init__(self, queries: Floats) -> None:
        self.queries = queries
        self._best = {name: np.full((len(queries), K), -2.0, np.float32) for name in CONDITIONS}
        self._ids = {name: np.full((len(queries), K), "", "<U16") for name in CONDITIONS}

    def add(self, chunk: Chunk) -> None:
        """Looks at each object once."""
        scores, ids = self.queries @ chunk.vectors.T, np.array(chunk.ids())
        shares = {"no filter": 2.0, "10 %": 0.1, "1 %": 0.01}
        for name, share in shares.items():
            kept = np.flatnonzero(chunk.areas < np.float32(share))
            joined = np.concatenate([self._best[name], scores[:, kept]], axis=1)
            names = np.concatenate([self._ids[name], np.tile(ids[kept], (len(scores), 1))], axis=1)
            top = np.argpartition(-joined, K - 1, axis=1)[:, :K]
            self._best[name] = np.take_along_axis(joined, top, axis=1)
            self._ids[name] = np.take_along_axis(names, top, axis=1)

    @property
    def ids(self) -> dict[str, NDArray[np.str_]]:
        """By condition, [Q, K]."""
        return dict(self._ids)


@dataclass(frozen=True)
class Vectors:
    """Figures of one store.

    indexed, unindexed: searches by condition, with all rows in the index and with UNINDEXED more.
    found_at_once: whether an appended picture's object is the first of its own search.
    """

    objects: int
    ingest_s: float
    index_s: float
    indexed: dict[str, dict[str, float]]
    unindexed: dict[str, dict[str, float]]
    unindexed_ratio: float
    found_at_once: bool
    delete_ms: float


def measure(objects: int, queries: int = QUERIES) -> Vectors:
    """Makes a store of so many objects in a temporary folder, and asks it."""
    with tempfile.TemporaryDirectory() as folder:
        return _measure(str(Path(folder) / "store"), objects, queries)


def _measure(uri: str, objects: int, queries: int) -> Vectors:
    rng = np.random.default_rng(0)
    world = World.of(rng)
    truth = Truth(world.draw(rng, queries))
    store = Store.create(uri, MadeBy(DIMENSIONS, "embed_objects", {"embeds": "e" * 64}))
    ingest_s = _ingest(store, world, rng, objects, 0, truth)
    start = time.perf_counter()
    store.optimize()
    index_s = time.perf_counter() - start
    indexed = _in_another_process(uri, truth)
    more = int(objects * UNINDEXED) // OBJECTS_A_PICTURE * OBJECTS_A_PICTURE
    _ingest(store, world, rng, more, objects, truth)
    unindexed = _in_another_process(uri, truth)
    ratio = unindexed["no filter"].p50_ms / indexed["no filter"].p50_ms
    alone = Chunk(objects + more, world.draw(rng, OBJECTS_A_PICTURE), np.ones(5, np.float32))
    store.commit_written(written(alone, MadeBy.schema(store.made_by)))
    first = store.nearest(alone.vectors[1], "object", None, ["id"], K)["id"][0]
    return Vectors(
        objects=objects,
        ingest_s=ingest_s,
        index_s=index_s,
        indexed={name: asdict(one) for name, one in indexed.items()},
        unindexed={name: asdict(one) for name, one in unindexed.items()},
        unindexed_ratio=ratio,
        found_at_once=str(first) == alone.ids()[1],
        delete_ms=_delete_ms(store, rng, objects),
    )


def _ingest(
    store: Store, world: World, rng: np.random.Generator, rows: int, start: int, truth: Truth
) -> float:
    """Seconds of the commits alone."""
    seconds, schema = 0.0, store.made_by.schema()
    total = -(-rows // CHUNK)
    for chunk in track(chunks(world, rng, rows, start), description="vectors", total=total):
        truth.add(chunk)
        one = written(chunk, schema)
        began = time.perf_counter()
        store.commit_written(one)
        seconds += time.perf_counter() - began
    return seconds


def _in_another_process(uri: str, truth: Truth) -> dict[str, Searched]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(ask, uri, truth.queries, truth.ids, CONDITIONS).result()


def _delete_ms(store: Store, rng: np.random.Generator, objects: int) -> float:
    """Median; the first one is not counted, for it opens what the others use."""
    times: list[float] = []
    for number in rng.choice(objects // OBJECTS_A_PICTURE, DELETED, replace=False):
        start = time.perf_counter()
        store.delete([f"{number:012d}"])
        times.append(1000 * (time.perf_counter() - start))
    return float(np.median(times[1:]))


def to_rows(found: Vectors) -> list[dict[str, Any]]:
    """For people."""
    return [
        {"rows": f"{state}, {name}", **figures}
        for state, by_name in (("indexed", found.indexed), ("5 % unindexed", found.unindexed))
        for name, figures in by_name.items()
    ]
