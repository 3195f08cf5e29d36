"""The index job on Ray Data: many machines call the servers, only the driver commits."""

from __future__ import annotations

import logging
import os
import pickle
import socket
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import ray
import ray.data
from fovea_client import InvalidInput, Unavailable

from fovea_search.job import Job, Options, Progress
from fovea_search.ray_actor import Actor, Asking, Done, Plan, Task, digests
from fovea_search.records import Origin
from fovea_search.sources import Problem, Source
from fovea_search.store import Store
from fovea_search.work import Describes, Outcome

# Slices at once in an actor: while one waits for its last pictures, another calls the servers.
SLICES = 2
# Tasks in one run of Ray's pipeline, so that the cluster holds no list of all pictures.
WINDOW = 2_000
# For a cluster that is started for the job: only names, counts and a few rows pass through it.
OBJECT_STORE_BYTES = 256 * 2**20
HEAD_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Cluster:
    """Where the actors run.

    address: of Ray's head; "auto" is this machine's cluster, or a new one on it. actors: their
    number; each works on `Options.concurrency` pictures at a time.
    """

    address: str = "auto"
    actors: int = 2


class RayJob(Job):
    """`Job` with actors instead of threads; a slice of `Options.batch` pictures is a commit.

    `run` takes sources whose shards are closed, under paths that every machine can read.
    on_problem: gets unreadable paths within shards. column: of Parquet files. leave: leave the
    cluster at the end. Ray's messages about its workers go to stderr.
    """

    def __init__(
        self,
        store: Store,
        asking: Asking,
        cluster: Cluster,
        options: Options | None = None,
        metadata: Describes | None = None,
        *,
        on_problem: Problem,
        column: str | None = None,
        leave: bool = False,
    ) -> None:
        options = options or Options()
        super().__init__(store, None, options, metadata)
        self._cluster, self._on_problem, self._leave = cluster, on_problem, leave
        self._plan = Plan(store.uri, asking, options, column, metadata)

    def _work(self, found: Iterable[Source], total: int | None, progress: Progress | None) -> None:
        connect(self._cluster.address)
        with redirect_stdout(sys.stderr):
            try:
                self._on_cluster(found, total, progress)
            finally:
                if self._leave:
                    ray.shutdown()

    def _on_cluster(
        self, found: Iterable[Source], total: int | None, progress: Progress | None
    ) -> None:
        names = digests(name for name in self._known if self._was_there(name))
        plan, tasks = replace(self._plan, stored=(ray.put(names),)), self._tasks(found)
        while window := list(islice(tasks, WINDOW)):
            for done in _results(window, plan, self._cluster.actors):
                self._take(done)
                if progress is not None:
                    progress(len(self._seen), total)

    def _tasks(self, found: Iterable[Source]) -> Iterator[Task]:
        pictures: list[Origin] = []
        for source in found:
            known = self._unchanged(source.origin)
            if source.shard:
                yield Task(shard=source.origin)
            elif known is not None:
                self._note(Outcome(known.id, source.origin, unchanged=True))
            else:
                pictures.append(source.origin)
            if len(pictures) == self._options.batch:
                yield Task(tuple(pictures))
                pictures = []
        if pictures:
            yield Task(tuple(pictures))

    def _take(self, done: Done) -> None:
        """Commit a slice."""
        for outcome in done.outcomes:
            self._note(outcome)
        if done.written is not None:
            self._count_results(done.results, self._store.commit_written(done.written))
        for path, reason in done.problems:
            self._on_problem(path, reason)
        if done.stop is not None:
            raise done.stop


def connect(address: str) -> bool:
    """Join a cluster, or start one on this machine; False if this process is in one already.

    Raises Unavailable if there is none at the address, InvalidInput if it is not an address.
    """
    if ray.is_initialized():
        return False
    # Its messages about restarting actors also go to its log files.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    for name in ("ray.data", "ray.data._internal.progress"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Lance warns of forks, but Ray's become other programs at once.
        warnings.simplefilter("ignore")
        if address != "auto":
            _check_there(address)
            _init(address=address)
            return True
        try:
            _init(address=address)
        except ConnectionError:
            own = OBJECT_STORE_BYTES
            _init(address="local", object_store_memory=own, include_dashboard=False)
    return True


def _check_there(address: str) -> None:
    """Fail at once, as Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidInput(f"expected auto or host:port of the head of Ray, got {address!r}")
    try:
        socket.create_connection((host, int(port)), HEAD_TIMEOUT_S).close()
    except OSError as error:
        reason = error.strerror or error
        raise Unavailable(f"expected the head of Ray at {address!r}: {reason}") from error


def _init(**options: Any) -> None:
    ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)


def _results(tasks: Sequence[Task], plan: Plan, actors: int) -> Iterator[Done]:
    """One or more results for each task, as they come."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # Otherwise the slices of a shard wait for each other until they have this many bytes.
    context.target_max_block_size = 1
    rows = [{"task": pickle.dumps(task)} for task in tasks]
    # No task waits in an actor, which would continue with it after the driver has died.
    pool = ray.data.ActorPoolStrategy(
        size=actors,
        max_tasks_in_flight_per_actor=SLICES,
        max_concurrent_calls_per_actor=SLICES,
        enable_true_multi_threading=True,
    )
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        Actor, fn_constructor_args=(plan,), batch_size=None, num_cpus=1, compute=pool
    )
    for row in dataset.iter_rows():
        yield pickle.loads(row["done"])


__all__ = ["Asking", "Cluster", "RayJob", "connect"]
