"""`kill -9` in the middle of an index job: of its driver, of a worker, or of tritonserver.

A plain job's workers are threads of the driver, so there is nothing else to kill; on Ray they are
the actors' processes. Results are read from the store and from the servers' counters.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import tritonclient.grpc as triton
from fovea_search import Store, StoreFailed
from fovea_server import EmbeddedServer

from demo.scene_pictures import write_scenes
from tests.faults.ledger import Account, Ledger
from tests.faults.report import Report, broken

KILLS = 10
BATCH, CONCURRENCY, ACTORS, SLICES = 4, 4, 2, 2
# For one picture with all its retries, and for the next commit: longer than a server or a cluster
# takes to come back.
TIMEOUT_S = 300.0
# Delay after a commit, so that the kill falls anywhere into a batch.
MOST_DELAY_S = 1.0
ACTOR = "ray::MapWorker(MapBatches(Actor)"


@dataclass(frozen=True)
class IndexJob:
    """A job over the pictures of a folder. ray: the head's address; None is a plain job."""

    photos: Path
    store: Path
    url: str
    ray: str | None = None

    @property
    def slots(self) -> int:
        """Batches at once; a kill may cost each of them."""
        return ACTORS * SLICES if self.ray else 1

    def start(self) -> subprocess.Popen[str]:
        """Start `fovea index`."""
        options = {"store": self.store, "url": self.url, "batch": BATCH, "timeout": TIMEOUT_S}
        options["concurrency"] = CONCURRENCY
        if self.ray:
            options |= {"ray": self.ray, "actors": ACTORS}
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        command = [sys.executable, "-m", "fovea_search", "index", str(self.photos), "--json"]
        return subprocess.Popen(
            [*command, *words], stdout=subprocess.PIPE, text=True, env=os.environ
        )

    def finish(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """The command's own report."""
        out, _ = process.communicate(timeout=4 * TIMEOUT_S)
        if process.returncode != 0:
            raise AssertionError(f"the job ended with {process.returncode}")
        summary: dict[str, Any] = json.loads(out)
        return summary

    def committed(self) -> int:
        """Pictures in the store."""
        try:
            there = Store.is_there(str(self.store))
            return Store.open(self.store).count("kind = 'picture'") if there else 0
        except StoreFailed:  # it is being created
            return 0

    def await_commit(self, process: subprocess.Popen[str], rng: random.Random) -> None:
        """Wait until there are more pictures than now, and a moment more."""
        before, end = self.committed(), time.monotonic() + TIMEOUT_S
        while self.committed() <= before:
            if process.poll() is not None:
                raise AssertionError(f"the job ended with {process.returncode} before the kill")
            if time.monotonic() > end:
                raise AssertionError(f"nothing was committed within {TIMEOUT_S} s")
            time.sleep(0.02)
        time.sleep(rng.uniform(0, MOST_DELAY_S))


def kill_driver(job: IndexJob, kills: int, rng: random.Random) -> dict[str, Any]:
    """Start the job again after each kill; returns the last run's report."""
    for _ in range(kills):
        process = job.start()
        job.await_commit(process, rng)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return job.finish(job.start())


def kill_beside(
    job: IndexJob, kills: int, rng: random.Random, kill: Callable[[], None]
) -> dict[str, Any]:
    """One run, in which something else is killed; returns its report."""
    process = job.start()
    for _ in range(kills):
        job.await_commit(process, rng)
        kill()
    return job.finish(process)


def kill_actor() -> None:
    """`kill -9` one actor's process in this user's cluster."""
    actors = [one for one in psutil.process_iter(["cmdline"]) if _is_actor(one)]
    actors[0].kill()
    psutil.wait_procs(actors[:1], timeout=5)


def _is_actor(process: psutil.Process) -> bool:
    words = process.info["cmdline"] or [""]
    return bool(words[0].startswith(ACTOR))


def kill_triton(server: EmbeddedServer) -> None:
    """`kill -9`; returns when the launcher's next one works.

    What was answered before can be committed meanwhile, so a commit does not show that it does.
    """
    before, end = server.recoveries.restarts, time.monotonic() + TIMEOUT_S
    psutil.Process(server.pid).kill()
    while server.recoveries.restarts == before:
        if time.monotonic() > end:
            raise AssertionError(f"no other tritonserver within {TIMEOUT_S} s")
        time.sleep(0.02)


def account_of(job: IndexJob, pictures: list[str]) -> Account:
    """Count each picture as a request that its rows answer."""
    store = Store.open(job.store)
    rows = {known.id: known for known in store.known()}
    count = Counter(known.path for known in store.known())
    errors = {known.path: known.error for known in rows.values() if known.error}
    ledger = Ledger()
    for number, path in enumerate(pictures):
        ledger.send(number)
        for _ in range(count[path]):
            if path in errors:
                ledger.lose(number, str(errors[path]))
            else:
                ledger.answer(number)
    return ledger.account()


def report_of(
    fault: str,
    job: IndexJob,
    pictures: list[str],
    run: Callable[[], dict[str, Any]],
    asked: Callable[[], int] | None,
    kills: int,
) -> Report:
    """Run a job with its kills. asked: pictures requested from the server so far, if known."""
    began, before = time.perf_counter(), asked() if asked else 0
    summary = run()
    seconds, account = time.perf_counter() - began, account_of(job, pictures)
    objects = Store.open(job.store).read(["id"], "kind = 'object'")
    names = [row["id"] for batch in objects for row in batch.to_pylist()]
    redone = asked() - before - len(pictures) if asked else None
    # Plus what runs beside the batch; on Ray, the batch that the driver is committing.
    allowed = kills * (BATCH * job.slots + (BATCH if job.ray else CONCURRENCY))
    return Report(
        fault,
        Ledger().account(),
        account,
        seconds,
        {"kills": kills, "redone": redone, "allowed": allowed, "objects": len(names)},
        broken(
            {
                f"each picture is there (lost: {account.losses})": account.lost == 0,
                "no picture is there twice": account.duplicated == 0,
                "no object is there twice": len(names) == len(set(names)),
                f"nothing failed ({summary['failed']})": summary["failed"] == 0,
                f"a kill costs at most a batch a slot (redone: {redone}, allowed: {allowed})": (
                    redone is None or redone <= allowed
                ),
            }
        ),
    )


@contextmanager
def cluster() -> Iterator[str]:
    """A Ray cluster on this machine; yields the head's address."""
    import ray

    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    head = ray.init(num_cpus=ACTORS, object_store_memory=100 * 2**20, **quiet)
    try:
        yield head.address_info["gcs_address"]
    finally:
        ray.shutdown()


def run_driver(server: EmbeddedServer, *, kills: int = KILLS, on_ray: bool = False) -> Report:
    """Kill the driver; in a plain job that is all of it."""
    return _run("the driver", server, kills, on_ray)


def run_worker(server: EmbeddedServer, *, kills: int = KILLS) -> Report:
    """Kill an actor of Ray."""
    return _run("a worker", server, kills, on_ray=True)


def run_server(server: EmbeddedServer, *, kills: int = KILLS, on_ray: bool = False) -> Report:
    """Kill tritonserver."""
    return _run("tritonserver", server, kills, on_ray)


def _run(victim: str, server: EmbeddedServer, kills: int, on_ray: bool) -> Report:
    with tempfile.TemporaryDirectory() as folder:
        if not on_ray:
            return _in_folder(victim, server, kills, Path(folder), None)
        with cluster() as address:
            return _in_folder(victim, server, kills, Path(folder), address)


def _in_folder(
    victim: str, server: EmbeddedServer, kills: int, folder: Path, ray: str | None
) -> Report:
    job = IndexJob(folder / "photos", folder / "store", server.grpc_url, ray)
    # A commit before each kill, its running batches, and some more without a kill.
    count = (kills + 2) * BATCH * (job.slots + 1)
    pictures = sorted(write_scenes(job.photos, count))
    rng = random.Random(0)
    kill = {"a worker": kill_actor, "tritonserver": partial(kill_triton, server)}.get(victim)
    run = (
        partial(kill_driver, job, kills, rng)
        if kill is None
        else partial(kill_beside, job, kills, rng, kill)
    )
    asked = None if victim == "tritonserver" else partial(_asked, server)
    where = "an index job on Ray" if ray else "an index job"
    name = f"kill -9 of {victim}, {kills} times, {where}"
    return report_of(name, job, pictures, run, asked, kills)


def _asked(server: EmbeddedServer) -> int:
    """Pictures asked for; a restarted tritonserver counts from zero."""
    with triton.InferenceServerClient(server.grpc_url) as client:
        stats = client.get_inference_statistics("embed_objects").model_stats[0]
        return int(stats.inference_stats.success.count)
