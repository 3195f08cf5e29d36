"""What a server holds of the machine's memory."""

from __future__ import annotations

import psutil


def resident_mb(pid: int) -> float:
    """Resident memory of a process and its children in MB; shared pages are counted once."""
    root = psutil.Process(pid)
    family = [root, *root.children(recursive=True)]
    return sum(process.memory_full_info().pss for process in family) / 1e6
