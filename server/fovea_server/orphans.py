"""Ends tritonserver and its stubs when their launcher has died without doing so itself.

Run as a program of its own (`python -I -S orphans.py`) it reads process ids from stdin, one a
line: the leader of the process group to end, 0 for none. When stdin closes or the launcher is
gone, it kills the group at once and removes the shared memory of the group's stubs. A stub that
is in the middle of a run would otherwise outlive its server until that run ends.
"""

import contextlib
import os
import re
import select
import signal
import sys
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
# "triton_python_backend_shm_region_<uuid>"; the second word is the backend's name.
_REGION = re.compile(r"triton_\w+_backend_shm_region_[0-9a-f-]+")
_PARENT_CHECK_S = 1.0


def regions_of(arguments: list[str]) -> list[str]:
    """The shared-memory names in a stub's argument list."""
    return [argument for argument in arguments if _REGION.fullmatch(argument)]


def remove_regions(names: list[str]) -> None:
    """Removes shared-memory files of dead stubs; those already gone are no error."""
    for name in names:
        (SHARED_MEMORY / name).unlink(missing_ok=True)


def kill_group(leader: int) -> None:
    """Kills every process of the group and removes its stubs' shared memory."""
    regions = _group_regions(leader)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    remove_regions(regions)


def _group_regions(leader: int) -> list[str]:
    names: list[str] = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            if os.getpgid(int(folder.name)) == leader:
                arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                names += regions_of(arguments)
    return names


def _watch_over_launcher() -> None:
    launcher, leader, unread = os.getppid(), 0, b""
    while os.getppid() == launcher:
        readable, _, _ = select.select([0], [], [], _PARENT_CHECK_S)
        if not readable:
            continue
        data = os.read(0, 4096)
        if not data:
            break
        *lines, unread = (unread + data).split(b"\n")
        if lines:
            leader = int(lines[-1])
    if leader:
        kill_group(leader)


if __name__ == "__main__":
    _watch_over_launcher()
    sys.exit(0)
