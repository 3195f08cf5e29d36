"""Reads pictures from files, folders, globs, lists, tar shards, Parquet; local or remote.

Every path may be a URI that fsspec supports, such as s3://bucket/photos. A picture within a shard
has fsspec's own URI (tar://a.jpg::/data/shard.tar), one in a Parquet file is
/data/a.parquet#image/17.
"""

from __future__ import annotations

import os
import posixpath
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import fsspec
from fovea_client.batches import PICTURE_SUFFIXES

from fovea_search import parquet
from fovea_search.errors import InvalidSource
from fovea_search.records import Origin

LIST_SUFFIXES = (".txt", ".lst")
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
PARQUET_SUFFIXES = (".parquet",)

# Pictures in these are found during reading.
STREAMED = (*LIST_SUFFIXES, *TAR_SUFFIXES, *PARQUET_SUFFIXES)

# Takes an unreadable path, and the reason.
Problem = Callable[[str, str], None]


@dataclass(frozen=True)
class Source:
    """A picture that has not been read.

    read: returns its bytes; raises OSError. streamed: it must be read before the next one is taken.
    shard: a tar shard or a Parquet file instead of a picture, which `find` opens.
    """

    origin: Origin
    read: Callable[[], bytes]
    streamed: bool = False
    shard: bool = False


@dataclass(frozen=True)
class _Options:
    """The options of `find`."""

    on_problem: Problem
    column: str | None
    closed: bool


def find(
    inputs: Iterable[str],
    on_problem: Problem,
    *,
    column: str | None = None,
    closed: bool = False,
) -> Iterator[Source]:
    """The pictures of all inputs, each as soon as it is known.

    Unreadable ones go to `on_problem`, and the rest continue. column: of Parquet files.
    closed: yield shards unopened, for somebody else to open.
    """
    asked = _Options(on_problem, column, closed)
    for given in inputs:
        try:
            yield from _expand(given, asked)
        except (OSError, InvalidSource, ImportError) as error:
            on_problem(given, _reason(error))


def read(path: str) -> bytes:
    """The bytes of a picture by its path in the store; raises OSError or InvalidSource."""
    if parquet.is_row(path):
        return parquet.read_row(path)
    with fsspec.open(_to_os(path), "rb") as file:
        data: bytes = file.read()
        return data


def exists(path: str) -> bool:
    """Whether a picture's file exists; for one within a shard, the shard."""
    container = container_of(path)
    file_system, inner = fsspec.core.url_to_fs(_to_os(container or path))
    there: bool = file_system.exists(inner)
    return there


def container_of(path: str) -> str | None:
    """The tar shard or Parquet file that contains a picture."""
    if parquet.is_row(path):
        return path.rpartition("#")[0]
    return path.partition("::")[2] or None


def _expand(given: str, asked: _Options) -> Iterator[Source]:
    container = container_of(given)
    if container is not None:
        yield _within(given, container)
        return
    file_system, path = fsspec.core.url_to_fs(given)
    if any(letter in given for letter in "*?[") and not file_system.exists(path):
        matches = sorted(file_system.glob(path))
        if not matches:
            raise InvalidSource("expected files that match, got none")
        for match in matches:
            yield from _one(file_system, match, asked)
        return
    yield from _one(file_system, path, asked)


def _within(path: str, container: str) -> Source:
    """A picture in a shard or a Parquet file, by its path in the store."""
    file_system, inner = fsspec.core.url_to_fs(container)
    modified = _modified(file_system.info(inner))
    member = path.removeprefix("tar://").partition("::")[0]
    folder = PurePosixPath(container).stem if parquet.is_row(path) else _folder(member)
    return Source(Origin(path, folder, 0, modified), lambda: read(path))


def _one(file_system: Any, path: str, asked: _Options) -> Iterator[Source]:
    lower = path.lower()
    if file_system.isdir(path):
        yield from _walk(file_system, path, asked.on_problem)
    elif lower.endswith(LIST_SUFFIXES):
        yield from _listed(file_system, path, asked)
    elif asked.closed and lower.endswith((*TAR_SUFFIXES, *PARQUET_SUFFIXES)):
        yield replace(_file(file_system, path, file_system.info(path)), shard=True)
    elif lower.endswith(TAR_SUFFIXES):
        yield from _shard(file_system, path)
    elif lower.endswith(PARQUET_SUFFIXES):
        uri, modified = _uri(file_system, path), _modified(file_system.info(path))
        for row in parquet.rows(file_system, path, uri, modified, asked.column):
            if isinstance(row, str):
                yield from _expand(_beside(file_system, path, row), asked)
            else:
                origin, data = row
                yield Source(origin, lambda data=data: data, streamed=True)  # type: ignore[misc]
    else:
        yield _file(file_system, path, file_system.info(path))


def _walk(file_system: Any, root: str, on_problem: Problem) -> Iterator[Source]:
    """Pictures below a folder, without hidden ones, in the order of their names."""

    def report(error: OSError) -> None:
        on_problem(str(error.filename or root), _reason(error))

    # fsspec reports errors of the given folder, and omits those of folders below it.
    for folder, folders, files in file_system.walk(root, maxdepth=1, detail=True, on_error=report):
        for name, info in sorted(files.items()):
            if name.lower().endswith(PICTURE_SUFFIXES) and not name.startswith("."):
                yield _file(file_system, posixpath.join(folder, name), info)
        for name in sorted(folders):
            if not name.startswith("."):
                yield from _walk(file_system, posixpath.join(folder, name), on_problem)


def _file(file_system: Any, path: str, info: dict[str, Any]) -> Source:
    uri = _uri(file_system, path)
    origin = Origin(uri, _folder(path), int(info.get("size") or 0), _modified(info))

    def load() -> bytes:
        with file_system.open(path, "rb") as file:
            data: bytes = file.read()
            return data

    return Source(origin, load)


def _modified(info: dict[str, Any]) -> float:
    """Seconds since 1970, which each file system reports differently; 0 if it does not."""
    time = info.get("mtime") or info.get("LastModified") or info.get("last_modified") or 0
    return time.timestamp() if isinstance(time, datetime) else float(time)


def _listed(file_system: Any, path: str, asked: _Options) -> Iterator[Source]:
    with file_system.open(path, "rb") as file:
        lines = os.fsdecode(file.read()).splitlines()
    for line in lines:
        if line.strip() and not line.startswith("#"):
            where = _beside(file_system, path, line.strip())
            try:
                yield from _expand(where, asked)
            except (OSError, InvalidSource) as error:
                asked.on_problem(where, _reason(error))


def _shard(file_system: Any, path: str) -> Iterator[Source]:
    """The members of a tar in order, as in a WebDataset."""
    uri, modified = _uri(file_system, path), _modified(file_system.info(path))
    try:
        with file_system.open(path, "rb") as file, tarfile.open(fileobj=file) as shard:
            for member in shard:
                if member.isfile() and member.name.lower().endswith(PICTURE_SUFFIXES):
                    origin = Origin(
                        f"tar://{member.name}::{uri}",
                        _folder(member.name) or PurePosixPath(path).stem,
                        member.size,
                        modified,  # members of a WebDataset often have none
                    )
                    content = shard.extractfile(member)
                    assert content is not None  # it is a file
                    yield Source(origin, content.read, streamed=True)
    except tarfile.TarError as error:
        raise InvalidSource(f"expected a tar shard: {error}") from error


def _beside(file_system: Any, path: str, named: str) -> str:
    """Resolve a path that a file names: relative ones are beside that file."""
    if "://" in named or posixpath.isabs(named):
        return named
    return posixpath.join(posixpath.dirname(_uri(file_system, path)), named)


def _uri(file_system: Any, path: str) -> str:
    """The store's name for a file: a local one by its absolute path, in UTF-8."""
    protocols = file_system.protocol
    local = "file" in ((protocols,) if isinstance(protocols, str) else protocols)
    if not local:
        return str(file_system.unstrip_protocol(path))
    absolute = os.path.abspath(path)
    try:
        absolute.encode()
    except UnicodeEncodeError:
        return f"file://{quote_from_bytes(os.fsencode(absolute))}"
    return absolute


def _to_os(path: str) -> str:
    """The inverse of `_uri` for names that are not UTF-8."""
    if path.startswith("file://"):
        return os.fsdecode(unquote_to_bytes(path.removeprefix("file://")))
    return path


def _folder(path: str) -> str:
    """The name of the folder that a file is in."""
    name = PurePosixPath(path).parent.name
    return os.fsencode(name).decode("utf-8", "replace")


def _reason(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or repr(error)


def relative_names(path: str) -> Iterator[str]:
    """Names that a metadata file may use for a picture: the path, its ends, or the name alone."""
    inner = path.removeprefix("tar://").partition("::")[0]
    parts = Path(inner).parts
    yield path
    for start in range(len(parts)):
        yield posixpath.join(*parts[start:])
