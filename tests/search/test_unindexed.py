"""Searches of a store whose index does not cover all rows, against all vectors compared here."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fovea_client import Mask, Objects
from fovea_search import MadeBy, Store
from fovea_search.records import Indexed, Origin
from fovea_search.unindexed import KEPT_BYTES, Unindexed
from fovea_search.vectors import unit
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.masks import encode_rle

SIZE, OBJECTS = 256, 12
ROW_BYTES = 4 * SIZE
# A picture row, and those of its objects.
PICTURE_BYTES = (1 + OBJECTS) * ROW_BYTES
MADE_BY = MadeBy(SIZE, "embed_objects", {"embeds": "e" * 64})
MASK = Mask(encode_rle(np.eye(6, 8, dtype=np.bool_)), (6, 8))


def draw(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, SIZE)).astype(np.float32)


def picture(number: int, objects: int = OBJECTS) -> Indexed:
    """Its vectors have any length; every fifth one failed."""
    name = f"p{number}"
    origin = Origin(f"/{name}.jpg", ("day", "night")[number % 2], 9, 1.5)
    if number % 5 == 4:
        return Indexed(name, origin, None, "InvalidImage: cut")
    found = Objects(
        boxes=np.zeros((objects, 4), np.float32),
        masks=(MASK,) * objects,
        scores=np.linspace(0, 1, objects, dtype=np.float32),
        stability=np.ones(objects, np.float32),
        size_hw=(6, 8),
        embeddings=draw(objects, number),
        picture_embedding=draw(1, -number - 1 + 2**31)[0],
    )
    return Indexed(name, origin, found)


def check(store: Store, query: np.ndarray, kind: str, where: str | None, limit: int) -> None:
    """The search finds the nearest of all rows, as many as there are, with their own columns."""
    found = store.nearest(query, kind, where, ["id", "vector"], limit)
    condition = f"kind = '{kind}' AND error IS NULL AND {where or 'true'}"
    rows = [row for batch in store.read(["id", "vector"], condition) for row in batch.to_pylist()]
    vectors = {row["id"]: unit(np.array(row["vector"], np.float32)) for row in rows}
    expected = sorted(1 - float(vector @ unit(query)) for vector in vectors.values())[:limit]
    distances = found["_distance"].to_pylist()
    assert distances == pytest.approx(expected, abs=1e-5)
    for row, distance in zip(found.to_pylist(), distances, strict=True):
        own = vectors[row["id"]]
        assert 1 - float(own @ unit(query)) == pytest.approx(distance, abs=1e-5)
        assert np.array_equal(unit(np.array(row["vector"], np.float32)), own)


STEPS = ("commit", "commit", "delete", "optimize", "restore", "describe")
WHERES = (None, "folder = 'night'", "score > 0.85", "folder = 'nowhere'")


@settings(max_examples=6, deadline=None, database=None)
@given(
    steps=st.lists(st.sampled_from(STEPS), min_size=2, max_size=6),
    kept=st.sampled_from([0, 2 * PICTURE_BYTES, KEPT_BYTES]),
    where=st.sampled_from(WHERES),
    kind=st.sampled_from(["object", "picture"]),
    limit=st.sampled_from([1, 5, 500]),
    seed=st.integers(0, 2**16),
)
def test_the_nearest_are_found_whatever_happened_to_the_store(
    tmp_path_factory, steps, kept, where, kind, limit, seed
) -> None:
    store = Store.create(tmp_path_factory.mktemp("store"), MADE_BY)
    store._unindexed = Unindexed(kept)
    rng, number = np.random.default_rng(seed), 0
    for step in ("commit", *steps):
        if step == "commit":
            store.commit([picture(number + more) for more in range(3)])
            number += 3
        elif step == "delete":
            store.delete([f"p{rng.integers(number)}"])
        elif step == "optimize":
            store.optimize(indexed_rows=20)
        elif step == "restore":
            store.restore(int(rng.choice([version.number for version in store.versions()[1:]])))
        else:
            store.update({f"p{rng.integers(number)}": {"folder": "night"}}, ["folder"])
        check(store, draw(1, seed)[0], kind, where, limit)


def read_bytes(store: Store, search: Callable[[], object]) -> int:
    store._data.io_stats_incremental()
    search()
    return int(store._data.io_stats_incremental().read_bytes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """With an index, and three commits after it."""
    store = Store.create(tmp_path / "store", MADE_BY)
    store.commit([picture(number, 100) for number in range(4)])
    store.optimize(indexed_rows=100)
    for number in range(5, 8):
        store.commit([picture(number, 100)])
    return store


def test_vectors_without_an_index_are_read_once(store: Store) -> None:
    query, vectors = draw(1, 0)[0], 101 * ROW_BYTES

    def search() -> object:
        return store.nearest(query, "object", None, ["id"], 5)

    assert read_bytes(store, search) > 3 * vectors
    assert read_bytes(store, search) < vectors
    store.commit([picture(8, 100)])
    assert vectors < read_bytes(store, search) < 2 * vectors
    store.delete(["p6"])
    assert read_bytes(store, search) < vectors
    store._unindexed = Unindexed(0)
    assert [read_bytes(store, search) > 3 * vectors for _ in range(2)] == [True, True]


def test_kept_vectors_are_those_that_fit_and_have_no_index(store: Store) -> None:
    def kept(size: int) -> list[int]:
        return [one.before for one in Unindexed(size).parts(store._data).kept]

    assert kept(KEPT_BYTES) == [404, 505, 606]
    assert kept(2 * 101 * ROW_BYTES) == [404, 505]
    assert kept(101 * ROW_BYTES - 1) == []
    store.optimize(indexed_rows=100)
    assert kept(KEPT_BYTES) == []


def test_threads_that_search_during_commits_and_deletions_find_whole_answers(store: Store) -> None:
    new = [picture(number, 100) for number in (10, 11, 12, 13)]

    def search(seed: int) -> list[float]:
        found = store.nearest(draw(1, seed)[0], "object", "score < 2", ["id"], 20)
        assert found.num_rows == 20
        distances: list[float] = found["_distance"].to_pylist()
        return distances

    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(search, seed) for seed in range(24)]
        for one in new:
            store.commit([one])
            first = store.nearest(one.found.embeddings[0], "object", None, ["picture"], 1)
            assert first["picture"].to_pylist() == [one.id]
            store.delete([one.id])
        assert all(answer.result() == sorted(answer.result()) for answer in answers)
