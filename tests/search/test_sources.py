"""Pictures from every kind of source, each under a path that can be read again."""

from __future__ import annotations

import os
import pwd
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fovea_search import sources

from tests.search import colours


@pytest.fixture
def photos(tmp_path) -> Path:
    colours.write(tmp_path / "photos" / "day", 2)
    colours.write(tmp_path / "photos" / "night", 1, start=5)
    (tmp_path / "photos" / "notes.txt.bak").write_text("no picture")
    (tmp_path / "photos" / ".hidden").mkdir()
    (tmp_path / "photos" / ".hidden" / "x.png").write_bytes(b"x")
    return tmp_path / "photos"


def find(*inputs: object, column: str | None = None) -> list[sources.Source]:
    def fail(path: str, reason: str) -> None:
        raise AssertionError(f"{path}: {reason}")

    found = sources.find(map(str, inputs), fail, column=column)
    # Those of shards must be read before the next one.
    return [sources.Source(one.origin, BytesIO(one.read()).getvalue) for one in found]


def check_readable(found: list[sources.Source]) -> None:
    for one in found:
        assert sources.read(one.origin.path) == one.read()
        assert sources.exists(one.origin.path)
        assert len(one.read()) == one.origin.bytes


def names(found: list[sources.Source]) -> list[str]:
    return [one.origin.path.partition("::")[0].rpartition("/")[2] for one in found]


def test_a_folder_with_its_subfolders(photos: Path) -> None:
    found = find(photos)
    assert names(found) == ["0000.png", "0001.png", "0005.png"]
    assert [one.origin.folder for one in found] == ["day", "day", "night"]
    check_readable(found)


def test_files_globs_and_relative_paths(photos: Path, monkeypatch) -> None:
    monkeypatch.chdir(photos)
    assert names(find("day/0000.png", "*/0005.png")) == ["0000.png", "0005.png"]
    assert find("day/0000.png")[0].origin.path == str(photos / "day" / "0000.png")
    check_readable(find("day/000?.png"))


def test_a_list_names_pictures_beside_itself_and_anywhere(photos: Path) -> None:
    listing = photos / "list.txt"
    listing.write_text(f"# mine\nday/0000.png\n\n{photos / 'night'}\n")
    found = find(listing)
    assert names(found) == ["0000.png", "0005.png"]
    check_readable(found)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_a_tar_shard(photos: Path, suffix: str) -> None:
    shard = photos / f"shard{suffix}"
    with tarfile.open(shard, "w:gz" if suffix == ".tar.gz" else "w") as tar:
        for path in sorted(photos.glob("[dn]*/*.png")):
            tar.add(path, path.relative_to(photos))
        note = tarfile.TarInfo("day/0000.json")
        tar.addfile(note, BytesIO())
    found = find(shard)
    assert names(found) == ["0000.png", "0001.png", "0005.png"]
    assert [one.origin.folder for one in found] == ["day", "day", "night"]
    assert {sources.container_of(one.origin.path) for one in found} == {str(shard)}
    if suffix == ".tar":
        check_readable(found)


def test_parquet_with_bytes_with_datasets_pictures_and_with_paths(photos: Path) -> None:
    paths = sorted(photos.glob("[dn]*/*.png"))
    data = [path.read_bytes() for path in paths]
    tables = {
        "bytes": pa.table({"n": [1, 2, 3], "picture": data}),
        "datasets": pa.table({"image": [{"bytes": one, "path": None} for one in data]}),
        "paths": pa.table({"path": [str(path.relative_to(photos)) for path in paths]}),
    }
    for name, table in tables.items():
        pq.write_table(table, photos / f"{name}.parquet")
        found = find(photos / f"{name}.parquet")
        assert [one.read() for one in found] == data
        check_readable(found)
    two = pa.table({"image": data, "other": data[::-1]})
    pq.write_table(two, photos / "two.parquet")
    found = find(photos / "two.parquet", column="other")
    assert [one.read() for one in found] == data[::-1]
    check_readable(found)


def test_other_file_systems(photos: Path) -> None:
    memory = fsspec.filesystem("memory")
    for path in photos.glob("day/*.png"):
        memory.pipe(f"/bucket/{path.name}", path.read_bytes())
    found = find("memory://bucket")
    assert [one.origin.path for one in found] == [
        "memory:///bucket/0000.png",
        "memory:///bucket/0001.png",
    ]
    check_readable(found)


def test_a_name_that_is_not_utf_8_is_found_again(photos: Path) -> None:
    odd = os.fsencode(photos / "day") + b"/\xff.png"
    with open(odd, "wb") as file:
        file.write(colours.picture(("red",)))
    found = find(photos / "day")
    found[-1].origin.path.encode()
    check_readable(found)


def test_unreadable_files_are_reported_and_the_rest_continues(photos: Path) -> None:
    (photos / "bad.tar").write_bytes(b"no tar")
    (photos / "bad.parquet").write_bytes(b"no parquet")
    pq.write_table(pa.table({"n": [1]}), photos / "empty.parquet")
    problems = {}
    inputs = ["nowhere", "*.gif", "bad.tar", "bad.parquet", "empty.parquet", "day"]
    found = list(sources.find([str(photos / one) for one in inputs], problems.__setitem__))
    assert len(found) == 2
    assert [Path(path).name for path in problems] == inputs[:-1]
    assert problems[str(photos / "nowhere")] == "No such file or directory"
    assert "expected a column of bytes" in problems[str(photos / "empty.parquet")]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root can read everything, so it drops its rights for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_and_a_picture_without_rights_are_reported() -> None:
    with TemporaryDirectory() as folder:  # pytest's own is for its user alone
        photos = Path(folder) / "photos"
        colours.write(photos / "day", 2)
        colours.write(photos / "night", 1, start=5)
        Path(folder).chmod(0o755)
        (photos / "night").chmod(0)
        (photos / "day" / "0000.png").chmod(0)
        problems: dict[str, str] = {}
        with as_nobody():
            found = list(sources.find([str(photos)], problems.__setitem__))
            with pytest.raises(PermissionError):
                found[0].read()
            assert found[1].read()
        (photos / "night").chmod(0o700)
    assert names(found) == ["0000.png", "0001.png"]
    assert problems == {str(photos / "night"): "Permission denied"}
