"""The storage of a store: opening, locking, and translating errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa

from fovea_search.errors import InvalidStore, StoreFailed


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Holds a lock on a file; the system frees it however the process ends."""
    import fcntl

    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield True


def open_dataset(uri: str, session: Any = None) -> Any | None:
    """Opens the newest version of a Lance table; returns None if there is no table.

    session: an open dataset's, to share its caches.
    """
    try:
        return lance.dataset(uri, storage_options=_options(uri), session=session)
    except ValueError as error:
        if "not found" in first_line(error).lower():
            return None
        raise


def create_dataset(uri: str, schema: pa.Schema) -> None:
    """Creates an empty Lance table; raises OSError if there is one already."""
    lance.write_dataset(schema.empty_table(), uri, storage_options=_options(uri))


def _options(uri: str) -> dict[str, str] | None:
    """Options for object storage beyond the environment: AWS_ENDPOINT_URL may be plain HTTP."""
    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return {"allow_http": "true"} if plain and "://" in uri else None


@contextmanager
def failures(location: str) -> Iterator[None]:
    """Turn Lance's errors, which are Python's built-in kinds, into StoreFailed."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, (InvalidStore, StoreFailed)):
            raise
        raise StoreFailed(f"{location}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Lance's message without the position in its source."""
    line = str(error).splitlines()[0] if str(error) else repr(error)
    return line.split(", /root/")[0].split(", /home/")[0]
