"""The work of a cluster's machine: turns slices of pictures into rows for the driver to commit."""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import ray
from fovea_client import Client, FoveaError
from numpy.typing import NDArray

from fovea_search import sources
from fovea_search.job import Options
from fovea_search.records import Origin
from fovea_search.servers import Servers
from fovea_search.sources import Source
from fovea_search.store import Known, Store, Written
from fovea_search.work import Describes, Outcome, Result, Worker, read, unchanged


@dataclass(frozen=True)
class Asking:
    """The servers, by host:port of gRPC, and the verb to call."""

    urls: tuple[str, ...]
    timeout_s: float
    verb: str
    settings: Mapping[str, float]


@dataclass(frozen=True)
class Plan:
    """How to build an actor.

    column: of Parquet files. stored: Ray's reference to the `digests` of stored pictures, in a
    list, because Ray would resolve a bare one.
    """

    store: str
    asking: Asking
    options: Options
    column: str | None
    metadata: Describes | None
    stored: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Task:
    """The pictures of one slice, or a shard with any number of slices."""

    pictures: tuple[Origin, ...] = ()
    shard: Origin | None = None


@dataclass(frozen=True)
class Done:
    """The result of a slice.

    results: of the pictures in `written`. problems: unreadable paths, and why. stop: why the job
    cannot go on.
    """

    outcomes: tuple[Outcome, ...]
    results: tuple[Result, ...]
    written: Written | None
    problems: tuple[tuple[str, str], ...] = ()
    stop: FoveaError | None = None


class Actor:
    """Does tasks, a few at a time; they share its threads.

    A slice always has the same pictures: Ray restarts the task of an actor that died, and skips as
    many of its results as it already has.
    """

    def __init__(self, plan: Plan) -> None:
        asking, options = plan.asking, plan.options
        clients = [Client(url, timeout_s=asking.timeout_s) for url in asking.urls]
        self._options, self._metadata, self._column = options, plan.metadata, plan.column
        self._store = Store.open(plan.store)
        self._server = Servers(clients, asking.verb, asking.settings)
        self._stored: NDArray[np.uint64] = ray.get(plan.stored[0])
        self._pool = ThreadPoolExecutor(options.concurrency, thread_name_prefix="fovea-index")
        # Pictures in memory: those in work, and as many that wait.
        self._room = threading.Semaphore(2 * options.concurrency)

    def __call__(self, batch: Mapping[str, Any]) -> Iterator[dict[str, list[bytes]]]:
        """Pickled `Task`s to pickled `Done`s."""
        for task in batch["task"]:
            for done in self._slices(pickle.loads(task)):
                yield {"done": [pickle.dumps(done)]}
                if done.stop is not None:
                    return

    def _slices(self, task: Task) -> Iterator[Done]:
        problems: list[tuple[str, str]] = []
        found = self._sources(task, problems)
        known = self._known_in(task.shard) if task.shard else {}
        while futures := self._begin_slice(found, known):
            yield self._finish(futures, problems)
            problems.clear()
        if problems:
            yield self._finish([], problems)

    def _sources(self, task: Task, problems: list[tuple[str, str]]) -> Iterator[Source]:
        if task.shard is None:
            for origin in task.pictures:
                yield Source(origin, partial(sources.read, origin.path))
            return
        path = task.shard.path
        yield from sources.find([path], lambda *one: problems.append(one), column=self._column)

    def _known_in(self, shard: Origin) -> dict[str, list[Known]]:
        """Known pictures by path, also those that another try of this task has stored."""
        known: dict[str, list[Known]] = {}
        for one in self._store.known_in(shard.path):
            known.setdefault(one.path, []).append(one)
        return known

    def _begin_slice(
        self, found: Iterator[Source], known: Mapping[str, list[Known]]
    ) -> list[Future[Outcome]]:
        begun = _Slice(self._is_stored)
        worker = Worker(self._server, begun.is_there, self._options.thumbnail, self._metadata)
        futures = []
        for source in islice(found, self._options.batch):
            same = unchanged(known.get(source.origin.path, ()), source.origin, self._options.retry)
            if same is not None:
                futures.append(Future[Outcome]())
                futures[-1].set_result(Outcome(same.id, source.origin, unchanged=True))
                continue
            self._room.acquire()
            data = read(source) if source.streamed else None
            futures.append(self._pool.submit(worker.do, source, data))
            futures[-1].add_done_callback(lambda _: self._room.release())
        return futures

    def _finish(
        self, futures: Sequence[Future[Outcome]], problems: Sequence[tuple[str, str]]
    ) -> Done:
        outcomes, stop = list[Outcome](), None
        for future in futures:
            try:
                outcomes.append(future.result())
            except CancelledError:
                continue
            except FoveaError as error:
                stop = error
                for other in futures:
                    other.cancel()
        pictures = [one.picture for one in outcomes if one.picture is not None]
        written = None
        try:
            written = self._store.write(pictures) if pictures else None
        except FoveaError as error:
            stop = error
        return Done(
            outcomes=tuple(replace(one, picture=None) for one in outcomes),
            results=tuple(Result.of(one) for one in pictures),
            written=written,
            problems=tuple(problems),
            stop=stop,
        )

    def _is_stored(self, name: str) -> bool:
        """Ask the store only about pictures that are probably there."""
        digest = digests([name])[0]
        place = int(np.searchsorted(self._stored, digest))
        near = place < len(self._stored) and self._stored[place] == digest
        return bool(near) and name in self._store.failed([name])


class _Slice:
    """The pictures of one slice, so that copies within it are done once."""

    def __init__(self, is_stored: Any) -> None:
        self._is_stored, self._names, self._lock = is_stored, set[str](), threading.Lock()

    def is_there(self, name: str) -> bool:
        """Whether a picture is stored, or begun in this slice; otherwise it counts as begun now."""
        with self._lock:
            if name in self._names:
                return True
            self._names.add(name)
        return bool(self._is_stored(name))


def digests(names: Iterable[str]) -> NDArray[np.uint64]:
    """Eight bytes of each name's hash, sorted: small enough for every machine to hold."""
    found = [
        int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")
        for name in names
    ]
    return np.sort(np.array(found, np.uint64))
