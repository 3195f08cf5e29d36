"""The storage of a store: connecting, locking, and translating errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import lancedb

from fovea_search.errors import InvalidStore, StoreFailed


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """The lock ends with the process, however that ends."""
    import fcntl

    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield True


def connect(location: str) -> Any:
    options = storage_options() if "://" in location else None
    return lancedb.connect(
        location, read_consistency_interval=timedelta(0), storage_options=options
    )


def storage_options() -> dict[str, str]:
    """Options for object storage beyond the environment: AWS_ENDPOINT_URL may be plain HTTP."""
    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return {"allow_http": "true"} if plain else {}


@contextmanager
def failures(location: str) -> Iterator[None]:
    """Translate Lance's errors, which have Python's own kinds."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, (InvalidStore, StoreFailed)):
            raise
        raise StoreFailed(f"{location}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """Lance's message without the place in its own source."""
    line = str(error).splitlines()[0] if str(error) else repr(error)
    return line.split(", /root/")[0].split(", /home/")[0]
