"""Assembles an export aside and swaps it in at once: no server sees half of it."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from export.errors import ExportError

_LOCK = ".lock"
_ASIDE = ".assembling-"
# From Linux's fcntl.h and fs.h, for renameat2.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


@contextmanager
def exclusive(folder: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Keep other processes from assembling below `folder`; calls `waiting` if one is at it.

    Leftovers of killed processes are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in folder.glob(f"{_ASIDE}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


@contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """An empty folder on the file system of `folder`, removed with its content on leaving."""
    made = Path(tempfile.mkdtemp(dir=folder, prefix=_ASIDE))
    made.chmod(0o755)  # mkdtemp's is private to its owner; served files are for everyone
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def take_place(new: Path, old: Path) -> None:
    """Put the folder `new` at the path `old` in one step; what was there is then at `new`.

    If the file system cannot exchange two folders, `old` is missing for a moment. Raises
    ExportError if `old` is a mount point, which nothing can replace.
    """
    try:
        if not old.exists():
            new.rename(old)
        elif not _exchange(new, old):
            _rename_in_turn(new, old)
    except OSError as error:
        if error.errno not in (errno.EBUSY, errno.EXDEV):
            raise
        raise ExportError(
            f"expected a folder that can be replaced, {old} is a mount point: "
            "mount the folder above it and export there"
        ) from error


def _exchange(new: Path, old: Path) -> bool:
    """Swap two folders in one system call; False if the system has none."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    paths = os.fsencode(new), os.fsencode(old)
    if renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(old))


def _rename_in_turn(new: Path, old: Path) -> None:
    former = new.with_name(f"{new.name}.former")
    old.rename(former)
    new.rename(old)
    former.rename(new)


def link_or_copy(source: Path | str, target: Path | str) -> None:
    """Put the same file in a second place: as a link if possible, else as a copy."""
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
