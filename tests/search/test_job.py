"""Every picture once: moved, changed, copied, broken and gone ones, and two jobs at a time."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import grpc
import pytest
from fovea_client import Client, Unavailable, UnknownVerb
from fovea_search import Job, Options, Servers, Store, sources
from fovea_search.servers import open_store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.client.fake_triton import Refusal
from tests.search import colours
from tests.search.conftest import QUICK, paths_of

OBJECTS = 2  # in each picture of `colours.write`


def names_of(store: Store) -> list[str]:
    return [Path(path).name for path in paths_of(store)]


def test_each_picture_is_stored_once_with_its_objects(run, store: Store, tmp_path) -> None:
    written = colours.write(tmp_path / "photos", 12)
    summary = run(tmp_path / "photos", batch=5)
    assert (summary.indexed, summary.objects, summary.failed) == (12, 12 * OBJECTS, 0)
    assert paths_of(store) == [str(path) for path in written]
    assert store.count("kind = 'object'") == 12 * OBJECTS
    assert store.count("kind = 'object' AND folder = 'photos' AND width = 96") == 12 * OBJECTS


def test_a_second_run_asks_the_server_nothing(run, triton, tmp_path) -> None:
    colours.write(tmp_path / "photos", 4)
    run(tmp_path / "photos")
    asked = len(triton.calls)
    summary = run(tmp_path / "photos")
    assert (summary.indexed, summary.unchanged, len(triton.calls)) == (0, 4, asked)


def test_a_moved_picture_keeps_its_rows_and_gets_its_new_path(run, store, triton, tmp_path) -> None:
    old = colours.write(tmp_path / "photos", 2)[0]
    run(tmp_path / "photos")
    asked = len(triton.calls)
    new = tmp_path / "photos" / "elsewhere" / "new.png"
    new.parent.mkdir()
    old.rename(new)
    summary = run(tmp_path / "photos")
    assert (summary.indexed, summary.moved, len(triton.calls)) == (0, 1, asked)
    assert names_of(store) == ["0001.png", "new.png"]
    assert store.count("folder = 'elsewhere'") == 1 + OBJECTS


def test_a_changed_picture_replaces_the_former_one(run, store: Store, tmp_path) -> None:
    changed = colours.write(tmp_path / "photos", 3)[1]
    run(tmp_path / "photos")
    changed.write_bytes(colours.picture(("yellow",), seed=99))
    summary = run(tmp_path / "photos")
    assert (summary.indexed, summary.replaced) == (1, 1)
    assert names_of(store) == ["0000.png", "0001.png", "0002.png"]
    assert store.count("kind = 'object'") == 2 * OBJECTS + 1


def test_two_pictures_that_change_places_both_stay(run, store: Store, tmp_path) -> None:
    first, second = colours.write(tmp_path / "photos", 2)
    run(tmp_path / "photos")
    before = {known.path: known.id for known in store.known()}
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other), second.write_bytes(one)
    os.utime(first, (1, 1)), os.utime(second, (2, 2))
    summary = run(tmp_path / "photos")
    after = {known.path: known.id for known in store.known()}
    assert (summary.indexed, summary.replaced, summary.moved) == (0, 0, 2)
    assert after == {str(first): before[str(second)], str(second): before[str(first)]}


def test_copies_are_one_picture(run, store: Store, tmp_path) -> None:
    original = colours.write(tmp_path / "photos", 1)[0]
    shutil.copy(original, tmp_path / "photos" / "copy.png")
    assert run(tmp_path / "photos").copies == 1
    again = run(tmp_path / "photos")
    assert (again.copies, again.moved, again.unchanged) == (1, 0, 1)
    assert len(paths_of(store)) == 1


def test_a_touched_picture_is_read_again_but_not_asked_about(run, triton, tmp_path) -> None:
    touched = colours.write(tmp_path / "photos", 1)[0]
    run(tmp_path / "photos")
    asked = len(triton.calls)
    os.utime(touched, (1, 1))
    assert (run(tmp_path / "photos").unchanged, len(triton.calls)) == (1, asked)


def test_broken_pictures_are_rows_with_their_reason_and_can_be_retried(
    run, store: Store, tmp_path
) -> None:
    good = colours.write(tmp_path / "photos", 2)[0]
    broken = {
        "text.jpg": b"hello, this is no picture",
        "cut.png": good.read_bytes()[:60],
        "empty.png": b"",
    }
    for name, data in broken.items():
        (tmp_path / "photos" / name).write_bytes(data)
    summary = run(tmp_path / "photos")
    assert (summary.indexed, summary.failed, summary.objects) == (5, 3, 2 * OBJECTS)
    failed = {Path(known.path).name: known.error for known in store.known() if known.error}
    assert set(failed) == set(broken)
    assert all(reason.startswith("InvalidImage: ") for reason in failed.values())
    assert failed["text.jpg"] == (
        "InvalidImage: expected a whole JPEG, PNG or WebP picture, got 25 bytes that begin with "
        "b'hello, this ': it begins like none of them"
    )
    assert run(tmp_path / "photos").unchanged == 5
    again = run(tmp_path / "photos", retry=True)
    assert (again.indexed, again.failed, again.unchanged) == (0, 3, 2)
    assert len(paths_of(store)) == 5


def test_a_picture_of_one_row_holds_up_nothing(run, store: Store, tmp_path) -> None:
    colours.write(tmp_path / "photos", 2)
    Image.new("RGB", (60_000, 1), colours.COLOURS["red"]).save(tmp_path / "photos" / "thin.png")
    summary = run(tmp_path / "photos", thumbnail=64)
    assert (summary.indexed, summary.failed, summary.objects) == (3, 0, 2 * OBJECTS + 1)
    assert store.count("kind = 'object' AND width = 60000 AND height = 1") == 1
    assert store.count("kind = 'picture' AND thumbnail IS NOT NULL") == 3


def test_a_temporary_failure_is_replaced_by_a_retry(run, store, triton, tmp_path) -> None:
    colours.write(tmp_path / "photos", 1)
    triton.first = [Refusal(grpc.StatusCode.INTERNAL, "out of memory")]
    assert run(tmp_path / "photos").failed == 1
    assert run(tmp_path / "photos").unchanged == 1
    again = run(tmp_path / "photos", retry=True)
    assert (again.indexed, again.failed, again.objects) == (1, 0, OBJECTS)
    assert [known.error for known in store.known()] == [None]


def test_a_picture_that_cannot_be_read_is_a_row_until_it_can(run, store: Store, tmp_path) -> None:
    link = colours.write(tmp_path / "photos", 2)[0]
    target = link.rename(tmp_path / "elsewhere.png")
    link.symlink_to(tmp_path / "nowhere.png")
    assert run(tmp_path / "photos").failed == 1
    assert [known.error for known in store.known() if known.error] == [
        "InvalidImage: it cannot be read: No such file or directory"
    ]
    target.rename(tmp_path / "nowhere.png")
    summary = run(tmp_path / "photos")
    assert (summary.indexed, summary.replaced, len(paths_of(store))) == (1, 1, 2)


def test_gone_pictures_are_swept_when_asked_for(run, store: Store, tmp_path) -> None:
    gone = colours.write(tmp_path / "photos", 3)[0]
    run(tmp_path / "photos")
    gone.unlink()
    assert (run(tmp_path / "photos").swept, len(paths_of(store))) == (0, 3)
    assert run(tmp_path / "photos", sweep=True).swept == 1
    assert names_of(store) == ["0001.png", "0002.png"]
    assert store.count("kind = 'object'") == 2 * OBJECTS


def test_a_dead_server_stops_the_job_and_the_next_one_goes_on(
    store: Store, triton, tmp_path
) -> None:
    colours.write(tmp_path / "photos", 6)
    found = list(sources.find([str(tmp_path / "photos")], print))
    with Client(triton.url, timeout_s=0.5, retry=QUICK) as client:
        servers = Servers([client], "embed_objects", {})
        Job(store, servers).run(found[:3])
        triton.stop()
        with pytest.raises(Unavailable):
            Job(store, servers, Options(concurrency=2)).run(found)
        assert len(paths_of(store)) == 3
        triton.start()
        assert Job(store, servers).run(found).indexed == 3


def test_another_server_takes_over_from_one_that_is_dead(store: Store, client, tmp_path) -> None:
    colours.write(tmp_path / "photos", 6)
    found = sources.find([str(tmp_path / "photos")], print)
    with Client("127.0.0.1:1", timeout_s=0.2, retry=QUICK) as dead:
        summary = Job(store, Servers([dead, client], "embed_objects", {})).run(found)
    assert (summary.indexed, summary.failed) == (6, 0)


def test_an_unknown_verb_stops_the_job(store: Store, client: Client, tmp_path) -> None:
    colours.write(tmp_path / "photos", 1)
    found = sources.find([str(tmp_path / "photos")], print)
    with pytest.raises(UnknownVerb):
        Job(store, Servers([client], "nonesuch", {})).run(found)


def test_two_jobs_at_a_time_store_each_picture_once(triton, store: Store, tmp_path) -> None:
    written = colours.write(tmp_path / "photos", 40)
    summaries = []

    def work() -> None:
        with Client(triton.url) as client:
            found = sources.find([str(tmp_path / "photos")], print)
            job = Job(Store.open(store.uri), Servers([client], "embed_objects", {}),
                      Options(batch=7))  # fmt: skip
            summaries.append(job.run(found))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths_of(store) == [str(path) for path in written]
    assert store.count("kind = 'object'") == 40 * OBJECTS
    assert sum(summary.indexed for summary in summaries) == 40
    assert sum(s.indexed + s.others + s.unchanged for s in summaries) == 120


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["write", "move", "copy", "remove", "break"]),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    max_size=8,
)


@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(ACTIONS, ACTIONS)
def test_whatever_happens_to_a_folder_the_store_is_what_is_in_it(
    client: Client, tmp_path_factory, first, second
) -> None:
    folder = tmp_path_factory.mktemp("world")
    photos = folder / "photos"
    photos.mkdir()
    store = open_store(str(folder / "store"), [client], "embed_objects", {})
    for step, actions in enumerate((first, second)):
        for number, (action, one, other) in enumerate(actions):
            act(photos, action, one, other, 10 * step + number)
        servers = Servers([client], "embed_objects", {})
        found = sources.find([str(photos)], print)
        Job(store, servers, Options(sweep=True, batch=2)).run(found)
        contents = {path.read_bytes(): path for path in photos.iterdir()}
        assert len(paths_of(store)) == len(contents)
        for known in store.known():
            assert Path(known.path).read_bytes() in contents
        objects = sum(len(p.read_bytes()) > 60 for p in contents.values()) * OBJECTS
        assert store.count("kind = 'object'") == objects


def act(photos: Path, action: str, one: int, other: int, seed: int) -> None:
    source, target = photos / f"{one}.png", photos / f"{other}.png"
    if action == "write":
        source.write_bytes(colours.picture(("red", "blue"), seed=seed))
    elif action == "break":
        source.write_bytes(b"broken" + bytes([seed]))
    elif source.exists() and one != other:
        {"move": source.replace, "copy": lambda t: shutil.copy(source, t)}.get(
            action, lambda _: source.unlink()
        )(target)
