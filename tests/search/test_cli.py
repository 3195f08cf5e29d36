"""The commands from end to end, through the client's command."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import grpc
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fovea_client.cli import app
from PIL import Image
from typer.testing import CliRunner

from tests.client.fake_triton import Refusal
from tests.search import colours


@pytest.fixture
def fovea(triton, tmp_path, monkeypatch):
    """Runs the command; returns its exit code, its output, and its errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOVEA_URL", triton.url)

    def call(*words: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [str(word) for word in words])
        said = [line for line in result.stderr.splitlines() if line.strip()]
        return result.exit_code, result.stdout, "\n".join(said)

    return call


def record(answer: tuple[int, str, str]) -> dict:
    code, out, err = answer
    assert code == 0, err
    return json.loads(out)


def test_index_and_search(fovea, tmp_path) -> None:
    colours.write(tmp_path / "photos", 8)
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"hello")
    code, out, err = fovea("index", "photos")
    assert code == 0 and out.startswith("index: 9 pictures with 16 objects, 1 failed in ")
    assert "bad.jpg: InvalidImage: " in err
    again = record(fovea("index", "photos", "--json"))
    assert (again["indexed"], again["unchanged"]) == (0, 9)
    found = record(fovea("search", "red", "-k", "3", "--same", "1", "--json"))
    assert len(found["finds"]) == 3
    code, out, _ = fovea("search", "red", "--scene", "night", "-k", "2", "--same", "1")
    assert code == 0 and out.count("photos/000") == 2


def test_sheets_show_the_finds(fovea, tmp_path) -> None:
    colours.write(tmp_path / "photos", 3)
    fovea("index", "photos")
    (tmp_path / "photos" / "0001.png").unlink()
    for name in ("sheet.png", "deep/sheet.html"):
        assert fovea("search", "blue", "--same", "1", "--out", name)[0] == 0
    assert Image.open(tmp_path / "sheet.png").width > 500
    page = (tmp_path / "deep" / "sheet.html").read_text()
    assert page.count("<figure>") == 6 and page.count("data:image/jpeg;base64,") == 6
    code, _, err = fovea("search", "blue", "--out", "sheet.gif")
    assert code == 2 and "expected --out to end in .png or .html" in err


def test_metadata_become_columns(fovea, tmp_path) -> None:
    colours.write(tmp_path / "photos", 4)
    fovea("index", "photos/0000.png")
    table = "path,camera,lux\n0000.png,front,3.5\nphotos/0001.png,rear,4\n0002.png,rear,\n"
    (tmp_path / "more.csv").write_text(table)
    assert record(fovea("index", "photos", "--metadata", "more.csv", "--json"))["indexed"] == 3
    where = ["--where", "camera = 'rear' OR lux < 3.6", "--same", "1", "--json"]
    found = record(fovea("search", "blue", *where))["finds"]
    assert {(Path(one["path"]).name, one["camera"], one["lux"]) for one in found} == {
        ("0000.png", "front", 3.5),
        ("0001.png", "rear", 4.0),
        ("0002.png", "rear", None),
    }
    (tmp_path / "bad.csv").write_text("name,camera\nx,y\n")
    code, _, err = fovea("index", "photos", "--metadata", "bad.csv")
    assert code == 2 and "expected a column named path" in err


def test_failures_are_listed_and_retried_and_missing_pictures_are_swept(fovea, tmp_path) -> None:
    colours.write(tmp_path / "photos", 2)
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"hello")
    fovea("index", "photos")
    listed = record(fovea("index", "--failed", "--json"))
    assert listed["path"].endswith("bad.jpg") and listed["error"].startswith("InvalidImage")
    assert record(fovea("index", "--retry", "--json"))["failed"] == 1
    (tmp_path / "photos" / "bad.jpg").unlink()
    assert record(fovea("index", "--sweep", "--json"))["swept"] == 1
    assert fovea("index", "--failed")[1] == ""


def test_a_failure_within_a_shard_is_retried_in_place(fovea, triton, tmp_path) -> None:
    colours.write(tmp_path / "photos", 2)
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(tmp_path / "photos" / "0000.png", "night/0000.png")
    pictures = [(tmp_path / "photos" / "0001.png").read_bytes()]
    pq.write_table(pa.table({"image": pictures}), tmp_path / "table.parquet")
    full = Refusal(grpc.StatusCode.INTERNAL, "out of memory")
    triton.behave = lambda call: full if call.model == "embed_objects" else colours.answer(call)
    shards = ("shard.tar", "table.parquet")
    assert record(fovea("index", *shards, "--json"))["failed"] == 2
    triton.behave = colours.answer
    again = record(fovea("index", "--retry", "--json"))
    assert (again["failed"], again["indexed"], again["moved"]) == (0, 2, 0)
    assert record(fovea("index", *shards, "--json"))["unchanged"] == 2
    found = record(fovea("search", "blue", "--where", "folder = 'night'", "--json"))["finds"]
    assert len(found) == 2 and found[0]["path"].startswith("tar://night/0000.png::/")


def test_versions_and_restore(fovea, tmp_path) -> None:
    colours.write(tmp_path / "photos", 1)
    fovea("index", "photos")
    lines = [json.loads(line) for line in fovea("index", "--versions", "--json")[1].splitlines()]
    colours.write(tmp_path / "photos", 2)
    fovea("index", "photos")
    assert fovea("index", "--restore", lines[-1]["version"])[0] == 0
    assert len(record(fovea("search", "blue", "--pictures", "--json"))["finds"]) == 1
    assert fovea("index", "--optimize")[0] == 0


def test_shards_and_lists(fovea, tmp_path) -> None:
    colours.write(tmp_path / "photos", 4)
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for name in ("0000.png", "0001.png"):
            tar.add(tmp_path / "photos" / name, f"a/{name}")
    (tmp_path / "list.txt").write_text("photos/0002.png\nphotos/0003.png\n")
    summary = record(fovea("index", "shard.tar", "list.txt", "--json"))
    assert (summary["indexed"], summary["objects"]) == (4, 8)
    assert record(fovea("index", "photos", "--json"))["indexed"] == 0


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["index"], 2, "expected pictures"),
        (["index", "nowhere"], 2, "nowhere: No such file or directory"),
        (["index", "--failed", "--store", "none"], 2, "expected a store in 'none', got none"),
        (["search", "red", "--store", "none"], 2, "expected a store in 'none', got none"),
        (["search"], 2, "expected a text, an image or a find"),
        (["search", "red", "--where", "x = 1"], 2, "No field named x"),
        (["search", "--image", "nowhere.jpg"], 2, "expected a picture file"),
        (
            ["index", "photos", "--points-per-side", "4"],
            2,
            "settings that the store was begun with",
        ),
        (["index", "photos", "--verb", "other"], 2, "has no 'other'"),
        (
            ["index", "photos", "--ray", "127.0.0.1:1"],
            3,
            "expected the head of Ray at '127.0.0.1:1'",
        ),
        (["index", "photos", "--ray", "head"], 2, "expected auto or host:port of the head of Ray"),
        (["index", "photos", "--ray", "auto", "--local", "x"], 2, "with --ray, got --local"),
        (["search", "red", "--url", "127.0.0.1:1", "--timeout", "0.3"], 3, "no server is ready"),
    ],
)
def test_each_mistake_gives_one_line(fovea, tmp_path, words, code, line) -> None:
    colours.write(tmp_path / "photos", 1)
    fovea("index", "photos")
    got, _, err = fovea(*words)
    assert (got, len(err.splitlines())) == (code, 1), err
    assert line in err


def test_another_embedder_is_one_line_for_both_commands(fovea, triton, tmp_path) -> None:
    colours.write(tmp_path / "photos", 1)
    fovea("index", "photos")
    triton.parameters = colours.parameters(colours.OTHER_EMBEDDER)
    for words in (["index", "photos"], ["search", "red"]):
        code, _, err = fovea(*words)
        assert (code, len(err.splitlines())) == (2, 1)
        assert "another --store" in err


def test_without_the_extra_one_line_says_what_to_install(tmp_path) -> None:
    (tmp_path / "lance.py").write_text(
        "raise ModuleNotFoundError('No module named lance', name='lance')"
    )
    for command in ("index", "search"):
        done = subprocess.run(
            [sys.executable, "-c", "from fovea_client.cli import app; app()", command],
            capture_output=True, text=True, env={"PYTHONPATH": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 2
        assert done.stderr == f"error: {command} needs lance: pip install 'fovea[search]'\n"


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting takes root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(fovea, tmp_path, small_disk) -> None:
    colours.write(tmp_path / "photos", 12)
    store = ["--store", small_disk / "index", "--batch", 4]
    assert fovea("index", "photos/0000.png", *store)[0] == 0
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    code, _, err = fovea("index", "photos", *store)
    assert code != 0 and len(err.splitlines()) == 1 and "No space left on device" in err
    filler.unlink()
    again = record(fovea("index", "photos", *store, "--json"))
    assert (again["indexed"], again["unchanged"], again["failed"]) == (11, 1, 0)
