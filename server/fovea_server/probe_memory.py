"""What probes remember about a server between runs, in a small private file of this user."""

import contextlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# A record older than this says nothing about now.
_STALE_S = 120.0


@dataclass
class Memory:
    """State of one server; times are seconds of the machine's monotonic clock, shared by processes.

    Attributes:
        server: identifies this run of tritonserver; state of another run is void.
        answered: the ensembles that have ever answered a probe or a user.
        waiting: for each model that requests wait for: its work when that began, and since when.
        instances: those that had a backend process when none was dead.
        failing_since, seen: when "ready" began to fail, and its last run; 0: it holds.
    """

    server: str
    answered: set[str] = field(default_factory=set)
    waiting: dict[str, tuple[int, float]] = field(default_factory=dict)
    instances: set[str] = field(default_factory=set)
    failing_since: float = 0.0
    seen: float = 0.0

    def silent_s(self, waiting: Mapping[str, int]) -> dict[str, float]:
        """How long each has done nothing though requests waited for it at every probe.

        Args:
            waiting: name -> how much it has done, for all that requests wait for now.
        """
        now = time.monotonic()
        known = self.waiting
        self.waiting = {
            name: known[name] if known.get(name, (None,))[0] == done else (done, now)
            for name, done in waiting.items()
        }
        return {name: now - since for name, (_, since) in self.waiting.items()}

    def record(self, *, ready: bool) -> None:
        """Record the result of "ready"."""
        self.seen = time.monotonic()
        if ready:
            self.failing_since = 0.0
        elif not self.failing_since:
            self.failing_since = self.seen

    def failing_s(self) -> float:
        """How long "ready" has failed, from the first time to the last; 0 if it holds."""
        stale = time.monotonic() - self.seen > _STALE_S
        return 0.0 if stale or not self.failing_since else self.seen - self.failing_since


def load(path: Path | None, server: str) -> Memory:
    """The memory of this server; empty if the file is not this user's alone."""
    if path is None:
        return Memory(server)
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        text = _read_own(path)
        stored: dict[str, Any] = json.loads(text)
        if stored["server"] == server:
            waiting = {name: (int(d), float(s)) for name, (d, s) in stored.pop("waiting").items()}
            sets = {name: set(stored.pop(name)) for name in ("answered", "instances")}
            return Memory(waiting=waiting, **sets, **stored)
    return Memory(server)


def save(path: Path | None, memory: Memory) -> bool:
    """Store the memory atomically; whether that worked."""
    if path is None:
        return False
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_own(path.parent.stat()):
            descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
            with os.fdopen(descriptor, "w") as file:
                json.dump(vars(memory), file, default=sorted)
            os.replace(draft, path)
            return True
    return False


def _read_own(path: Path) -> str:
    if not _is_own(path.parent.stat()):
        raise PermissionError(path.parent)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor) as file:
        if not _is_own(os.fstat(descriptor)):
            raise PermissionError(path)
        return file.read()


def _is_own(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
