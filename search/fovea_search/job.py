"""The index job: every picture once, whatever is killed, moved, changed or copied meanwhile."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from fovea_client import FoveaError, InvalidImage, Objects, Unavailable, UnknownVerb

from fovea_search import pictures, sources
from fovea_search.records import Indexed, Origin
from fovea_search.sources import Source
from fovea_search.store import Known, Store

BATCH_PICTURES = 256
BATCH_S = 30.0
# A name for bytes that could not be read begins so; a hash of content does not.
UNREAD = "unread-"

Progress = Callable[[int, "int | None"], None]


class Embeds(Protocol):
    """What answers for a picture: `fovea_search.servers.Servers`."""

    def embed_objects(self, data: bytes) -> Objects: ...


class Describes(Protocol):
    """More columns of pictures: `fovea_search.metadata.Metadata`."""

    @property
    def names(self) -> list[str]: ...

    def of(self, path: str) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Options:
    """How a job works.

    concurrency: pictures under way. batch: pictures in one commit, which is also what a kill may
    cost. retry: pictures that failed are done again. sweep: those whose files are gone are taken
    out. thumbnail: longest edge of a small JPEG that is kept of each; 0 keeps none.
    """

    concurrency: int = 8
    batch: int = BATCH_PICTURES
    retry: bool = False
    sweep: bool = False
    thumbnail: int = 0


@dataclass
class Summary:
    """What a job did.

    indexed: pictures that are new in the store, `failed` among them. objects: in those. unchanged:
    were there. moved: have another path now. copies: of a picture that is there under another
    path. replaced: were of files that have changed. swept: were of files that are gone. others:
    were stored by another writer in the meantime.
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

    metadata: columns to store with each picture, and with those that are there.
    """

    def __init__(
        self,
        store: Store,
        server: Embeds,
        options: Options | None = None,
        metadata: Describes | None = None,
    ) -> None:
        self._store, self._server = store, server
        self._options = options or Options()
        self._metadata = metadata
        self._known: dict[str, Known] = {}
        self._by_path: dict[str, list[Known]] = {}
        self._seen: dict[str, str] = {}  # path -> id, of this run
        self._origins: dict[str, Origin] = {}  # where pictures that were there are now
        self._begun: set[str] = set()
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
        """Raises Unavailable when no server answers, StoreFailed when the store cannot be written.

        What was committed before stays, and the next run goes on from there.
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
        self._settle()
        if self._options.sweep:
            self._sweep()
        self.summary.seconds = time.monotonic() - start
        return self.summary

    def _work(self, found: Iterable[Source], total: int | None, progress: Progress | None) -> None:
        last_commit = time.monotonic()
        for done, outcome in enumerate(self._outcomes(found), start=1):
            if outcome is not None:
                self._ready.append(outcome)
            late = time.monotonic() - last_commit > BATCH_S
            if len(self._ready) >= self._options.batch or (self._ready and late):
                self._commit()
                last_commit = time.monotonic()
            if progress is not None:
                progress(done, total)

    def _outcomes(self, found: Iterable[Source]) -> Iterator[Indexed | None]:
        """One for each source, None for those that need no work, a few at a time."""
        pending: set[Future[Indexed | None]] = set()
        pool = ThreadPoolExecutor(self._options.concurrency, thread_name_prefix="fovea-index")
        try:
            for source in found:
                if self._is_unchanged(source.origin):
                    yield None
                    continue
                data = _read(source) if source.streamed else None
                pending.add(pool.submit(self._do, source, data))
                while len(pending) >= self._options.concurrency:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (one.result() for one in done)
            while pending:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (one.result() for one in done)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _is_unchanged(self, origin: Origin) -> bool:
        """Whether a picture is done by its path, size and time, without a look at its bytes."""
        for known in self._by_path.get(origin.path, ()):
            same = (known.bytes, known.modified) == (origin.bytes, origin.modified)
            if same and not (self._options.retry and known.error):
                self._seen[origin.path] = known.id
                self.summary.unchanged += 1
                return True
        return False

    def _do(self, source: Source, data: bytes | OSError | None) -> Indexed | None:
        """A picture from bytes to rows; None when it is there already."""
        data = _read(source) if data is None else data
        if isinstance(data, OSError):
            name = UNREAD + hashlib.sha256(source.origin.path.encode()).hexdigest()
            self._seen[source.origin.path] = name
            error = InvalidImage(f"it cannot be read: {data.strerror or data}")
            return (
                None if self._is_there(name, source.origin) else self._failed(name, source, error)
            )
        name = hashlib.sha256(data).hexdigest()
        self._seen[source.origin.path] = name
        if self._is_there(name, source.origin):
            return None
        origin = replace(source.origin, bytes=len(data))
        one = Indexed(name, origin, None, extra=self._extra(origin.path))
        try:
            found = self._server.embed_objects(data)
        except (Unavailable, UnknownVerb):
            raise
        except FoveaError as error:
            return self._failed(name, source, error)
        taken, thumbnail = pictures.look_at(data, self._options.thumbnail)
        return replace(one, found=found, taken=taken, thumbnail=thumbnail)

    def _is_there(self, name: str, origin: Origin) -> bool:
        known = self._known.get(name)
        if known is not None and not (self._options.retry and known.error):
            self._origins.setdefault(name, origin)
            return True
        with self._lock:
            if name in self._begun:
                self.summary.copies += 1
                return True
            self._begun.add(name)
            return False

    def _failed(self, name: str, source: Source, error: FoveaError) -> Indexed:
        words = f"{type(error).__name__}: {error}"
        extra = self._extra(source.origin.path)
        return Indexed(name, source.origin, None, words, extra=extra)

    def _extra(self, path: str) -> Mapping[str, Any]:
        return self._metadata.of(path) if self._metadata else {}

    def _commit(self) -> None:
        if not self._ready:
            return
        stored = set(self._store.commit(self._ready))
        for one in self._ready:
            failed_again = one.id in self._known and one.found is None
            if one.id not in stored and not failed_again:
                self.summary.others += 1
                continue
            self.summary.indexed += one.id in stored
            if one.found is None:
                self.summary.failed += 1
                self.summary.errors.append((one.origin.path, one.error or ""))
            else:
                self.summary.objects += len(one.found.boxes)
        self._ready = []

    def _settle(self) -> None:
        """Paths of what has moved, and the former pictures of files that have changed."""
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
        """Metadata of pictures that were there before."""
        if self._metadata is None or not self._metadata.names:
            return
        rows = {}
        for path, name in self._seen.items():
            row = self._metadata.of(path) if name in self._known else {}
            if row:
                rows[name] = row
        self._store.update(rows, self._metadata.names)

    def _sweep(self) -> None:
        """Takes out pictures whose files, or whose places in a shard that was read, are gone."""
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


def _read(source: Source) -> bytes | OSError:
    try:
        return source.read()
    except OSError as error:
        return error
