"""The index job: does every picture once, even if files or processes change meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from fovea_search import sources
from fovea_search.records import Indexed, Origin
from fovea_search.sources import Source
from fovea_search.store import Known, Store
from fovea_search.work import Describes, Embeds, Outcome, Result, Worker, read, unchanged

BATCH_PICTURES = 256
BATCH_S = 30.0

Progress = Callable[[int, "int | None"], None]


@dataclass(frozen=True)
class Options:
    """How a job works.

    concurrency: pictures at once. batch: pictures in one commit, which is also the most that a kill
    can cost. retry: do failed pictures again. sweep: remove pictures whose files are gone.
    thumbnail: longest edge of a small JPEG of each picture; 0 keeps none.
    """

    concurrency: int = 8
    batch: int = BATCH_PICTURES
    retry: bool = False
    sweep: bool = False
    thumbnail: int = 0


@dataclass
class Summary:
    """The numbers of a job.

    indexed: new pictures in the store, `failed` among them. objects: in those. unchanged: already
    there. moved: have a new path. copies: equal to a picture under another path. replaced: whose
    files have changed. swept: whose files are gone. others: stored by another writer in the
    meantime.
    """

    indexed: int = 0
    objects: int = 0
    failed: int = 0
    unchanged: int = 0
    moved: int = 0
    copies: int = 0
    replaced: int = 0
    swept: int = 0
    others: int = 0
    seconds: float = 0.0
    errors: list[tuple[str, str]] = field(default_factory=list, repr=False)

    @property
    def pictures_per_s(self) -> float:
        return self.indexed / self.seconds if self.seconds else 0.0


class Job:
    """One run over pictures; `run` returns when all of them are in the store.

    metadata: columns to store with each picture, also with those already there.
    """

    def __init__(
        self,
        store: Store,
        server: Embeds | None,
        options: Options | None = None,
        metadata: Describes | None = None,
    ) -> None:
        self._store, self._server = store, server
        self._options = options or Options()
        self._metadata = metadata
        self._known: dict[str, Known] = {}
        self._by_path: dict[str, list[Known]] = {}
        self._seen: dict[str, str] = {}  # path -> id, in this run
        self._origins: dict[str, Origin] = {}  # current places of pictures that were already stored
        self._begun: set[str] = set()
        self._stored: set[str] = set()
        self._lock = threading.Lock()
        self._ready: list[Indexed] = []
        self.summary = Summary()

    def run(
        self,
        found: Iterable[Source],
        *,
        total: int | None = None,
        progress: Progress | None = None,
    ) -> Summary:
        """Raises Unavailable if no server answers, StoreFailed if the store cannot be written.

        Earlier commits stay, and the next run continues from there.
        """
        start = time.monotonic()
        for known in self._store.known():
            self._known[known.id] = known
            self._by_path.setdefault(known.path, []).append(known)
        try:
            self._work(found, total, progress)
        finally:
            self._commit()
            self.summary.seconds = time.monotonic() - start
        self._update_paths()
        if self._options.sweep:
            self._sweep()
        self.summary.seconds = time.monotonic() - start
        return self.summary

    def _work(self, found: Iterable[Source], total: int | None, progress: Progress | None) -> None:
        last_commit = time.monotonic()
        for done, outcome in enumerate(self._outcomes(found), start=1):
            self._note(outcome)
            if outcome.picture is not None:
                self._ready.append(outcome.picture)
            late = time.monotonic() - last_commit > BATCH_S
            if len(self._ready) >= self._options.batch or (self._ready and late):
                self._commit()
                last_commit = time.monotonic()
            if progress is not None:
                progress(done, total)

    def _outcomes(self, found: Iterable[Source]) -> Iterator[Outcome]:
        """One for each source, a few at a time."""
        pending: set[Future[Outcome]] = set()
        pool = ThreadPoolExecutor(self._options.concurrency, thread_name_prefix="fovea-index")
        assert self._server is not None  # a subclass without one overrides this
        worker = Worker(self._server, self._is_there, self._options.thumbnail, self._metadata)
        try:
            for source in found:
                known = self._unchanged(source.origin)
                if known is not None:
                    yield Outcome(known.id, source.origin, unchanged=True)
                    continue
                data = read(source) if source.streamed else None
                pending.add(pool.submit(worker.do, source, data))
                while len(pending) >= self._options.concurrency:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (one.result() for one in done)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (one.result() for one in done)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _unchanged(self, origin: Origin) -> Known | None:
        """A picture known as done by its path, size and time, without reading its bytes."""
        return unchanged(self._by_path.get(origin.path, ()), origin, self._options.retry)

    def _is_there(self, name: str) -> bool:
        """Whether a picture is stored, or begun by this run; otherwise it counts as begun now."""
        with self._lock:
            if self._was_there(name) or name in self._begun:
                return True
            self._begun.add(name)
            return False

    def _was_there(self, name: str) -> bool:
        known = self._known.get(name)
        return known is not None and not (self._options.retry and known.error)

    def _note(self, outcome: Outcome) -> None:
        """Note where a picture is, and count it unless it has rows to commit."""
        self._seen[outcome.origin.path] = outcome.id
        if outcome.unchanged:
            self.summary.unchanged += 1
        elif outcome.there and self._was_there(outcome.id):
            self._origins.setdefault(outcome.id, outcome.origin)
        elif outcome.there:
            self.summary.copies += 1

    def _commit(self) -> None:
        if self._ready:
            self._count_results(
                [Result.of(one) for one in self._ready], self._store.commit(self._ready)
            )
        self._ready = []

    def _count_results(self, results: Sequence[Result], stored: Iterable[str]) -> None:
        """Count the results of a commit; `stored` are those that are new in the store."""
        new = set(stored)
        for one in results:
            failed_again = one.id in self._known and one.error is not None
            if one.id in self._stored:
                self.summary.copies += 1
                continue
            if one.id not in new and not failed_again:
                self.summary.others += 1
                continue
            self._stored.add(one.id)
            self.summary.indexed += one.id in new
            self.summary.objects += one.objects
            if one.error is not None:
                self.summary.failed += 1
                self.summary.errors.append((one.path, one.error))

    def _update_paths(self) -> None:
        """Update paths of moved pictures, and remove the old versions of changed files."""
        used = set(self._seen.values())
        stale = {
            known.id
            for path in self._seen
            for known in self._by_path.get(path, ())
            if known.id not in used
        }
        self._store.delete(stale)
        self.summary.replaced += len(stale)
        names, rows = ["path", "folder", "bytes", "modified"], {}
        for name, origin in self._origins.items():
            known = self._known[name]
            if (self._seen.get(known.path) == name and known.path != origin.path) or (
                known.path != origin.path and known.path not in self._seen and _is_file(known.path)
            ):
                self.summary.copies += 1
            else:
                self.summary.moved += known.path != origin.path
                self.summary.unchanged += known.path == origin.path
                rows[name] = {key: getattr(origin, key) for key in names}
        self._store.update(rows, names)
        self._describe()

    def _describe(self) -> None:
        """Add metadata to pictures that were there before."""
        if self._metadata is None or not self._metadata.names:
            return
        rows = {}
        for path, name in self._seen.items():
            row = self._metadata.of(path) if name in self._known else {}
            if row:
                rows[name] = row
        self._store.update(rows, self._metadata.names)

    def _sweep(self) -> None:
        """Remove pictures whose files, or whose places in a shard that was read, are gone."""
        containers = {sources.container_of(path) for path in self._seen} - {None}
        moved = set(self._origins)
        gone = [
            known.id
            for known in self._known.values()
            if known.path not in self._seen
            and known.id not in moved
            and (sources.container_of(known.path) in containers or not _is_file(known.path))
        ]
        self._store.delete(gone)
        self.summary.swept = len(gone)


def _is_file(path: str) -> bool:
    return sources.exists(path)
