"""From a source to rows: the shared work of one job's threads and many machines' actors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from fovea_client import FoveaError, InvalidImage, Objects, Unavailable, UnknownVerb

from fovea_search import pictures
from fovea_search.records import Indexed, Origin
from fovea_search.sources import Source
from fovea_search.store import Known

# Prefix of names for unreadable bytes; a hash of content does not begin with it.
UNREAD = "unread-"


class Embeds(Protocol):
    """Embeds a picture's objects: `fovea_search.servers.Servers`."""

    def embed_objects(self, data: bytes) -> Objects: ...


class Describes(Protocol):
    """More columns of pictures: `fovea_search.metadata.Metadata`."""

    @property
    def names(self) -> list[str]: ...

    def of(self, path: str) -> Mapping[str, Any]: ...


@dataclass(frozen=True, eq=False)
class Outcome:
    """The result for a source.

    id: of its picture. picture: the one to store. there: it needs no rows, because the store has it
    or another source of the run is the same. unchanged: that was known without its bytes.
    """

    id: str
    origin: Origin
    picture: Indexed | None = None
    there: bool = False
    unchanged: bool = False


@dataclass(frozen=True)
class Result:
    """The counts for a picture with rows; error: why it has no objects."""

    id: str
    path: str
    objects: int
    error: str | None

    @classmethod
    def of(cls, one: Indexed) -> Result:
        objects = len(one.found) if one.found is not None else 0
        return cls(one.id, one.origin.path, objects, one.error)


class Worker:
    """Makes rows of pictures; thread-safe.

    is_there: whether a picture, by its id, needs no rows; called once for each source.
    thumbnail: longest edge in pixels, 0 for none. metadata: columns to add.
    """

    def __init__(
        self,
        server: Embeds,
        is_there: Callable[[str], bool],
        thumbnail: int = 0,
        metadata: Describes | None = None,
    ) -> None:
        self._server, self._is_there = server, is_there
        self._thumbnail, self._metadata = thumbnail, metadata

    def do(self, source: Source, data: bytes | OSError | None = None) -> Outcome:
        """Read a picture unless `data` is given, and call the server unless it is stored.

        Raises Unavailable and UnknownVerb; other errors become a row.
        """
        data = read(source) if data is None else data
        if isinstance(data, OSError):
            name = UNREAD + hashlib.sha256(source.origin.path.encode()).hexdigest()
        else:
            name = hashlib.sha256(data).hexdigest()
        if self._is_there(name):
            return Outcome(name, source.origin, there=True)
        return Outcome(name, source.origin, self._rows(name, source.origin, data))

    def _rows(self, name: str, origin: Origin, data: bytes | OSError) -> Indexed:
        one = Indexed(name, origin, None, extra=self._extra(origin.path))
        if isinstance(data, OSError):
            return _failed(one, InvalidImage(f"it cannot be read: {data.strerror or data}"))
        try:
            found = self._server.embed_objects(data)
        except (Unavailable, UnknownVerb):
            raise
        except FoveaError as error:
            return _failed(one, error)
        taken, thumbnail = pictures.look_at(data, self._thumbnail)
        origin = replace(origin, bytes=len(data))
        return replace(one, origin=origin, found=found, taken=taken, thumbnail=thumbnail)

    def _extra(self, path: str) -> Mapping[str, Any]:
        return self._metadata.of(path) if self._metadata else {}


def unchanged(rows: Iterable[Known], origin: Origin, retry: bool) -> Known | None:
    """The row of a source's path with its size and time; with `retry`, none that failed."""
    for known in rows:
        same = (known.bytes, known.modified) == (origin.bytes, origin.modified)
        if same and not (retry and known.error):
            return known
    return None


def read(source: Source) -> bytes | OSError:
    """The bytes, or why there are none."""
    try:
        return source.read()
    except OSError as error:
        return error


def _failed(one: Indexed, error: FoveaError) -> Indexed:
    return replace(one, error=f"{type(error).__name__}: {error}")
