"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("fovea", "torch", "transformers", "onnxruntime", "numpy", "tritonclient", "openvino")


def gpu_name() -> str | None:
    """The first GPU of this machine, as its driver names it; None without."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    names = answer.stdout.splitlines() if answer.returncode == 0 else []
    return names[0].strip() if names else None


def machine() -> dict[str, Any]:
    """Processor, cores, memory, GPU (None without) and versions."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    models = [line.split(":")[1].strip() for line in cpuinfo.splitlines() if "model name" in line]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": gpu_name(),
        "python": platform.python_version(),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    """Of those PACKAGES that are installed."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


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
