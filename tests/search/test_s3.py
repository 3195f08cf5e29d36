"""Pictures and store on object storage: moto's server speaks S3 on this machine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import fsspec
import pytest
from fovea_client import Client
from fovea_search import Index, Job, Servers, Store, sources
from fovea_search.job import Options
from fovea_search.servers import open_store

from tests.client.fake_triton import Call, FakeTriton
from tests.search import colours
from tests.search.conftest import paths_of

moto_server = pytest.importorskip("moto.server")
boto3 = pytest.importorskip("boto3")
pytest.importorskip("s3fs")

PICTURES, OBJECTS, BATCH, CONCURRENCY = 24, 2, 4, 4
PHOTOS, STORE = "s3://bucket/photos", "s3://bucket/index"


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    """A bucket, empty except for `PICTURES` below `PHOTOS`; the environment names it."""
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    values = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    for path in colours.write(tmp_path / "photos", PICTURES):
        client.upload_file(str(path), "bucket", f"photos/{path.name}")
    fsspec.filesystem("s3").clear_instance_cache()
    yield client
    server.stop()
    fsspec.filesystem("s3").clear_instance_cache()


def photos() -> list[sources.Source]:
    return list(sources.find([PHOTOS], print))


def expected() -> list[str]:
    return [f"{PHOTOS}/{number:04d}.png" for number in range(PICTURES)]


def check(store: Store) -> None:
    assert paths_of(store) == expected()
    assert store.count("kind = 'object'") == OBJECTS * PICTURES


def start(url: str) -> subprocess.Popen[str]:
    command = ["-m", "fovea_search", "index", PHOTOS, "--store", STORE, "--url", url, "--json"]
    more = ["--batch", str(BATCH), "--concurrency", str(CONCURRENCY)]
    return subprocess.Popen([sys.executable, *command, *more], stdout=subprocess.PIPE, text=True)


def test_two_writers_a_kill_and_another_run_leave_each_picture_once(bucket, triton) -> None:
    def slow(call: Call):
        time.sleep(0.05)
        return colours.answer(call)

    triton.behave = slow
    first, second = start(triton.url), start(triton.url)
    end = time.monotonic() + 60
    while not Store.is_there(STORE) or Store.open(STORE).count() == 0:
        assert time.monotonic() < end, "nothing is committed"
        time.sleep(0.1)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    summary = json.loads(second.communicate(timeout=120)[0])
    assert summary["indexed"] + summary["others"] + summary["unchanged"] == PICTURES
    third = start(triton.url)
    assert json.loads(third.communicate(timeout=60)[0])["unchanged"] == PICTURES
    store = Store.open(STORE)
    check(store)
    with Client(triton.url) as client:
        finds = Index(store, client).search(text="red", k=3, fold=None, where="folder = 'photos'")
    assert len(finds) == 3 and finds[0].path.startswith(PHOTOS)


def test_rows_that_others_have_written_are_committed_once(bucket, triton: FakeTriton) -> None:
    """Like actors of Ray, with copies and another job in between."""
    with Client(triton.url) as client:
        store = open_store(STORE, [client], "embed_objects", {})
        job = Job(store, Servers([client], "embed_objects", {}), Options(batch=PICTURES))
        commit, taken = store.commit, []
        store.commit = lambda pictures: taken.extend(pictures) or []
        job.run(photos())
        store.commit = commit
    commit(taken[:3])
    other = Store.open(STORE)
    half = [store.write(taken[:15]), other.write(taken[10:])]
    assert all(written.rows is not None and not written.fragments for written in half)
    stored = store.commit_written(half[0]) + other.commit_written(half[1])
    assert sorted(stored) == sorted(one.id for one in taken[3:])
    store.optimize()
    check(store)
