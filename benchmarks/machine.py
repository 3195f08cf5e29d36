"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("fovea", "torch", "transformers", "onnxruntime", "numpy", "tritonclient")


def machine() -> dict[str, Any]:
    """Processor, cores, memory and versions."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = [line.split(":")[1].strip() for line in cpuinfo.splitlines() if "model name" in line]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


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
