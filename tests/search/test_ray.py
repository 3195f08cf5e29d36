"""The job on a real Ray on this machine: the same store, the same promises."""

from __future__ import annotations

import random
import tarfile
import time
from functools import partial
from pathlib import Path

import pytest
from fovea_client import Unavailable
from fovea_search import Store, sources
from fovea_search.job import Options, Summary

from tests.client.fake_triton import Call, FakeTriton
from tests.faults import index_job
from tests.search import colours
from tests.search.conftest import paths_of

pytestmark = pytest.mark.ray
ray_job = pytest.importorskip("fovea_search.ray_job")

ACTORS, BATCH = 2, 4
KILLS = 2


@pytest.fixture(scope="module", autouse=True)
def cluster():
    import ray

    head = ray.init(
        num_cpus=ACTORS,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
        logging_level="ERROR",
    )
    yield head.address_info["gcs_address"]
    ray.shutdown()


def job_of(store: Store, url: str, problems: dict[str, str], **options) -> ray_job.RayJob:
    asking = ray_job.Asking((url,), 5.0, "embed_objects", store.made_by.settings)
    cluster = ray_job.Cluster(actors=ACTORS)
    given = Options(**{"batch": BATCH, "concurrency": 4, **options})
    return ray_job.RayJob(store, asking, cluster, given, on_problem=problems.__setitem__)


def run(store: Store, url: str, *inputs: Path, **options) -> tuple[Summary, dict[str, str]]:
    problems: dict[str, str] = {}
    found = sources.find(map(str, inputs), problems.__setitem__, closed=True)
    return job_of(store, url, problems, **options).run(found), problems


def asked(triton: FakeTriton) -> int:
    return sum(call.model == "embed_objects" for call in triton.calls)


def test_pictures_shards_copies_and_broken_ones_are_stored_once(triton, store, tmp_path) -> None:
    photos = colours.write(tmp_path / "photos", 10)
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"hello")
    colours.write(tmp_path / "others", 6, start=8)  # two of them are copies
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(tmp_path / "others", "night")
    (tmp_path / "bad.tar").write_bytes(b"no tar")
    inputs = [tmp_path / name for name in ("photos", "shard.tar", "bad.tar")]
    summary, problems = run(store, triton.url, *inputs, thumbnail=16)
    assert (summary.indexed, summary.failed, summary.objects) == (15, 1, 2 * 14)
    assert summary.copies == 2
    assert list(problems) == [str(tmp_path / "bad.tar")]
    assert len(paths_of(store)) == len(set(paths_of(store))) == 15
    assert store.count("kind = 'picture' AND thumbnail IS NOT NULL") == 14
    before = asked(triton)
    photos[0].rename(tmp_path / "photos" / "moved.png")
    again, _ = run(store, triton.url, *inputs)
    assert (again.indexed, again.moved, asked(triton)) == (0, 1, before)
    # What the driver appended can be updated, deleted and indexed like anything else.
    (tmp_path / "photos" / "0001.png").unlink()
    assert run(store, triton.url, tmp_path / "photos", sweep=True)[0].swept == 1
    store.optimize()
    assert store.count("kind = 'picture'") == 14


def test_another_writer_in_the_meantime_is_told_apart(triton, store, client, tmp_path) -> None:
    from fovea_search import Job, Servers

    photos = colours.write(tmp_path / "photos", 8)
    late = Store.open(store.uri)
    found = list(sources.find([str(tmp_path / "photos")], print))
    servers = Servers([client], "embed_objects", {})

    job = job_of(late, triton.url, {})
    take = job._take

    def slowly(done) -> None:
        Job(store, servers).run(found[:3])  # between the writing and its commit
        take(done)

    job._take = slowly
    summary = job.run(found)
    assert (summary.indexed, summary.others) == (5, 3)
    assert paths_of(store) == [str(path) for path in photos]
    assert store.count("kind = 'object'") == 16


def test_a_dead_server_stops_the_job_and_the_next_one_goes_on(triton, store, tmp_path) -> None:
    colours.write(tmp_path / "photos", 8)
    triton.stop()
    with pytest.raises(Unavailable):
        run(store, triton.url, tmp_path / "photos")
    assert len(paths_of(store)) == 0
    triton.start()
    assert run(store, triton.url, tmp_path / "photos")[0].indexed == 8


@pytest.mark.parametrize("victim", ["worker", "driver"])
def test_each_picture_is_there_once_after_kills_in_the_middle(cluster, tmp_path, victim) -> None:
    def slow(call: Call):
        time.sleep(0.3)
        return colours.answer(call)

    triton = FakeTriton(behave=slow, parameters=colours.parameters()).start()
    photos = [str(path) for path in colours.write(tmp_path / "photos", 120)]
    job = index_job.IndexJob(tmp_path / "photos", tmp_path / "store", triton.url, cluster)
    rng = random.Random(0)
    if victim == "worker":
        run = partial(index_job.kill_beside, job, KILLS, rng, index_job.kill_actor)
    else:
        run = partial(index_job.kill_driver, job, KILLS, rng)
    report = index_job.report_of(victim, job, photos, run, partial(asked, triton), KILLS)
    triton.stop()
    assert not report.broken, report
    assert report.during.answered == 120
