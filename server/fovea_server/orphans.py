"""Kills tritonserver and its stubs if the launcher dies without stopping them.

Run as a separate program (`python -I -S orphans.py REGIONS FOLDER`), it reads process ids from
stdin, one a line: the leader of the process group to end, 0 for none. When stdin closes or the
launcher is gone, it kills the group at once, and removes the shared memory whose names begin with
REGIONS and the launcher's folder of links, if there is one. Otherwise a stub in the middle of a run
would outlive its server until that run ends. It removes the memory and the folder even after a
normal end: a launcher that has run out of open files cannot.
"""

import contextlib
import os
import select
import shutil
import signal
import sys
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_PARENT_CHECK_S = 1.0


def remove_regions(prefix: str) -> None:
    """Remove the shared memory whose names begin with `prefix`; missing files are no error."""
    with contextlib.suppress(OSError):
        for region in SHARED_MEMORY.glob(f"{prefix}*"):
            region.unlink(missing_ok=True)


def kill_group(leader: int, regions: str) -> None:
    """Kill every process of the group, and remove the shared memory of its stubs.

    The stubs' arguments do not name all of it: a stub that never started has shared memory too.
    """
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
    remove_regions(regions)


def _last_leader() -> int:
    """The last process group that the launcher named before it was gone."""
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
    return leader


def _watch_over_launcher(regions: str, folder: str) -> None:
    leader = _last_leader()
    if leader:
        kill_group(leader, regions)
    else:
        remove_regions(regions)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    _watch_over_launcher(*sys.argv[1:])
    sys.exit(0)
