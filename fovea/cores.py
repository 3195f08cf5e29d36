"""Counts the processor cores that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

# Identifies a core: its hardware threads have the same text here.
_CORE_OF = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
_CGROUPS = Path("/sys/fs/cgroup")


def cores() -> int:
    """Physical cores within the affinity and the container's limit; hardware threads if unknown."""
    usable = os.sched_getaffinity(0)
    siblings = (_CORE_OF.format(thread) for thread in usable)
    try:
        physical = len({Path(path).read_text() for path in siblings})
    except OSError:
        physical = len(usable)
    return max(1, min([physical, *(math.ceil(quota) for quota in quotas())]))


def quotas(root: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> Iterator[float]:
    """The limits in cores of the control groups (version 2) that hold this process."""
    try:
        unified = next(line for line in own.read_text().splitlines() if line.startswith("0::"))
    except (OSError, StopIteration):
        return
    group = Path(unified.removeprefix("0::").lstrip("/"))
    for folder in dict.fromkeys([root / group, *(root / parent for parent in group.parents)]):
        try:
            quota, period = (folder / "cpu.max").read_text().split()
        except (OSError, ValueError):
            continue
        if quota != "max":
            yield int(quota) / int(period)
