"""The store by itself: what is refused, what is committed, and what can be restored."""

from __future__ import annotations

import multiprocessing
from datetime import datetime

import lance
import numpy as np
import pyarrow as pa
import pytest
from fovea_client import Mask, Objects
from fovea_search import InvalidStore, MadeBy, OtherMembers, Store, StoreFailed
from fovea_search.indexes import INDEXED_ROWS, SEGMENTS, partitions
from fovea_search.records import SCHEMA_VERSION, VERSION_KEY, Indexed, Origin
from fovea_search.store import TABLE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fovea.masks import encode_rle

SIZE = 8
MADE_BY = MadeBy(SIZE, "embed_objects", {"embeds": "e" * 64, "cuts": "c" * 64}, {"min_area": 9})
MASK = encode_rle(np.eye(6, 8, dtype=np.bool_))


def vectors(count: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, SIZE)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def picture(name: str, objects: int = 2, **more) -> Indexed:
    found = Objects(
        boxes=np.array([[0, 1, 2, 3]] * objects, np.float32).reshape(-1, 4),
        masks=(Mask(MASK, (6, 8)),) * objects,
        scores=np.full(objects, 0.9, np.float32),
        stability=np.full(objects, 0.8, np.float32),
        size_hw=(6, 8),
        embeddings=vectors(objects, hash(name) % 1000),
        picture_embedding=vectors(1, 7)[0],
    )
    origin = Origin(f"/photos/{name}.jpg", "photos", 100, 1.5)
    return Indexed(name, origin, found, **more)


def broken(name: str) -> Indexed:
    return Indexed(name, Origin(f"/photos/{name}.jpg", "photos", 3, 0.0), None, "InvalidImage: cut")


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.create(tmp_path / "store", MADE_BY)


def ids(store: Store) -> list[str]:
    return sorted(known.id for known in store.known())


def test_rows_come_back_as_they_were(store: Store) -> None:
    one = picture("a", taken=datetime(2024, 5, 1, 12, 30), thumbnail=b"jpeg")
    store.commit([one, broken("b")])
    rows = {
        row["id"]: row for batch in store.read(store.columns, "true") for row in batch.to_pylist()
    }
    assert set(rows) == {"a", "a:0", "a:1", "b"}
    assert rows["a"]["thumbnail"] == b"jpeg" and rows["a:0"]["thumbnail"] is None
    assert rows["a:1"]["mask"] == MASK and rows["a:1"]["box"] == [0, 1, 2, 3]
    assert rows["a:1"]["area"] == pytest.approx(6 / 48)
    assert rows["a:1"]["taken"] == datetime(2024, 5, 1, 12, 30)
    assert np.allclose(rows["a:1"]["vector"], one.found.embeddings[1])
    assert np.allclose(rows["a"]["vector"], one.found.picture_embedding)
    assert rows["b"]["vector"] is None and rows["b"]["error"] == "InvalidImage: cut"


def test_opening_creates_no_store(tmp_path) -> None:
    with pytest.raises(InvalidStore, match=r"expected a store in .*got none"):
        Store.open(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_store_of_another_version_is_refused(tmp_path) -> None:
    schema = MADE_BY.schema()
    for version in (str(SCHEMA_VERSION + 1), None):
        metadata = {VERSION_KEY: version} if version else None
        folder = tmp_path / f"version-{version}"
        empty = schema.with_metadata(metadata).empty_table()
        lance.write_dataset(empty, folder / f"{TABLE}.lance")
        with pytest.raises(InvalidStore, match=f"expected a store of schema 1 .* got {version}"):
            Store.open(folder)


@pytest.mark.parametrize(
    "other",
    [
        MadeBy(SIZE, "embed_objects", {"embeds": "f" * 64, "cuts": "c" * 64}, {"min_area": 9}),
        MadeBy(SIZE, "embed_objects", {"embeds": "e" * 64, "cuts": "d" * 64}, {"min_area": 9}),
        MadeBy(SIZE, "embed_objects", {"embeds": "e" * 64, "cuts": "c" * 64}, {"min_area": 4}),
    ],
)
def test_rows_of_other_members_or_settings_are_refused(store: Store, other: MadeBy) -> None:
    assert Store.create(store.uri, MADE_BY).made_by == MADE_BY
    with pytest.raises(OtherMembers, match="another --store"):
        Store.create(store.uri, other)


@settings(
    max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(
    st.lists(st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=5), max_size=5)
)
def test_each_picture_once_whatever_is_committed_how_often(tmp_path_factory, batches) -> None:
    store = Store.create(tmp_path_factory.mktemp("store"), MADE_BY)
    fine: dict[str, bool] = {}
    for batch in batches:
        latest = dict(batch)
        stored = store.commit([picture(n) if ok else broken(n) for n, ok in latest.items()])
        expected = [n for n, ok in latest.items() if n not in fine or (ok and not fine[n])]
        assert sorted(stored) == sorted(expected)
        fine |= {name: latest[name] for name in expected}
    assert ids(store) == sorted(fine)
    assert store.count("kind = 'object'") == 2 * sum(fine.values())
    assert store.count("error IS NOT NULL") == len(fine) - sum(fine.values())


def write_all(uri: str, names: list[str]) -> None:
    store = Store.open(uri)
    for start in range(0, len(names), 3):
        store.commit([picture(name) for name in names[start : start + 3]])


def test_two_processes_that_write_the_same_are_exact(store: Store) -> None:
    names = [f"p{number:02d}" for number in range(24)]
    context = multiprocessing.get_context("spawn")
    orders = (names, names[::-1])
    writers = [context.Process(target=write_all, args=(store.uri, order)) for order in orders]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert ids(store) == names
    assert store.count("kind = 'object'") == 2 * len(names)


def test_without_a_lock_two_writers_are_exact_too(store: Store, monkeypatch) -> None:
    """Like on object storage."""
    from contextlib import nullcontext

    from fovea_search import store as module

    monkeypatch.setattr(module, "locked", lambda path: nullcontext(False))
    late = Store.open(store.uri)
    make_way = late._make_way

    def slowly(data, errors):
        new = make_way(data, errors)
        store.commit([picture("a")])  # between another's look and its commit
        return new

    late._make_way = slowly
    late.commit([picture("a"), picture("b")])
    assert ids(store) == ["a", "b"]
    assert store.count("kind = 'object'") == 4


def test_a_bad_run_can_be_taken_back(store: Store) -> None:
    store.commit([picture("a")])
    good = store.versions()[-1]
    store.commit([picture("b")])
    assert (good.rows, store.versions()[-1].rows) == (3, 6)
    store.restore(good.number)
    assert ids(store) == ["a"]
    store.commit([picture("c")])
    assert ids(Store.open(store.uri)) == ["a", "c"]
    with pytest.raises(InvalidStore, match="versions that are kept, got 99"):
        store.restore(99)


def test_readers_see_what_others_commit_and_optimize_harms_none(store: Store) -> None:
    reader = Store.open(store.uri)
    for number in range(6):
        store.commit([picture(f"p{number}")])
    former = reader.nearest(vectors(1)[0], "object", None, ["id"], 100)
    store.optimize()
    assert former.num_rows == 12 == reader.count("kind = 'object'")


def test_metadata_columns_are_added_and_their_types_kept(store: Store) -> None:
    store.commit([picture("a")])
    store.add_columns([pa.field("camera", pa.string()), pa.field("lux", pa.float64())])
    store.commit([picture("b", extra={"camera": "front", "lux": 3.5})])
    store.update({"a": {"camera": "rear"}}, ["camera"])
    assert store.count("camera = 'rear'") == 3
    assert store.count("camera = 'front' AND lux > 3") == 3
    with pytest.raises(InvalidStore, match="'lux'"):
        store.add_columns([pa.field("lux", pa.string())])
    with pytest.raises(InvalidStore, match="'path'"):
        store.add_columns([pa.field("path", pa.string())])


def test_a_full_disk_is_one_line_and_loses_nothing(store: Store) -> None:
    import resource

    store.commit([picture("a")])
    many = [picture(f"p{number}") for number in range(500)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(StoreFailed) as caught:
            store.commit(many)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, former)
    assert "\n" not in str(caught.value) and store.uri in str(caught.value)
    assert ids(store) == ["a"]
    assert len(store.commit(many)) == 500


def test_from_many_rows_on_there_is_an_index_and_it_finds_the_same(tmp_path) -> None:
    store = Store.create(tmp_path / "store", MADE_BY)
    rng = np.random.default_rng(0)
    count = INDEXED_ROWS // 4
    for start in range(0, 4):
        one = picture(f"p{start}", 0)
        found = Objects(
            boxes=np.zeros((count, 4), np.float32),
            masks=(Mask(MASK, (6, 8)),) * count,
            scores=np.ones(count, np.float32),
            stability=np.ones(count, np.float32),
            size_hw=(6, 8),
            embeddings=rng.normal(size=(count, SIZE)).astype(np.float32),
            picture_embedding=vectors(1)[0],
        )
        store.commit([Indexed(one.id, one.origin, found)])
    wanted = vectors(1, 3)[0]

    def best() -> list[str]:
        found = store.nearest(wanted, "object", "path = '/photos/p1.jpg'", ["id"], 20)
        return found["id"].to_pylist()

    exact = best()
    store.optimize()
    assert partitions(store._data) == 50
    assert len(set(exact) & set(best())) >= 19
    for number in range(2 * SEGMENTS):
        new = picture(f"new{number}")
        store.commit([new])
        found = store.nearest(new.found.embeddings[0], "object", None, ["picture"], 20)
        assert new.id in found["picture"].to_pylist()
        store.optimize()
    assert partitions(store._data) == 50
    [index] = [one for one in store._data.describe_indices() if one.field_names == ["vector"]]
    assert 1 < len(index.segments) <= SEGMENTS + 1
    assert len(set(exact) & set(best())) >= 19
