"""The machine that a figure was measured on, as a name, and what a server holds of its memory."""

from __future__ import annotations

import re

import psutil

from export.machine import machine


def machine_name() -> str:
    """Short, for a folder: "intel-xeon-processor-2-cores"."""
    known = machine()
    words = re.sub(r"\((r|tm)\)", "", f"{known['processor']} {known['cores']} cores".lower())
    return "-".join(re.findall(r"[a-z0-9.]+", words))


def resident_mb(pid: int) -> float:
    """Resident memory of a process and its children in MB; shared pages are counted once."""
    root = psutil.Process(pid)
    family = [root, *root.children(recursive=True)]
    return sum(process.memory_full_info().pss for process in family) / 1e6
