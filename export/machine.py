"""Describes the machine that a figure was measured on."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("fovea", "torch", "transformers", "onnxruntime", "numpy", "tritonclient", "openvino")
CPUINFO = Path("/proc/cpuinfo")


def gpu_name() -> str | None:
    """The name of this machine's first GPU by its driver; None without one."""
    if shutil.which("nvidia-smi") is None:
        return None
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    names = answer.stdout.splitlines() if answer.returncode == 0 else []
    return names[0].strip() if names else None


def machine() -> dict[str, Any]:
    """Processor, cores, memory, GPU (or None) and versions."""
    cpuinfo = CPUINFO.read_text()
    models = [line.split(":")[1].strip() for line in cpuinfo.splitlines() if "model name" in line]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": gpu_name(),
        "python": platform.python_version(),
        "versions": _versions(),
    }


def int8_saturates(cpuinfo: str | None = None) -> bool:
    """Whether int8 products may overflow in ONNX Runtime, as on x86 without VNNI.

    There, pairs of products are added in 16 bits. cpuinfo: the text of /proc/cpuinfo.
    """
    text = CPUINFO.read_text() if cpuinfo is None else cpuinfo
    flags = [line.partition(":")[2].split() for line in text.splitlines() if line[:5] == "flags"]
    return any("avx2" in found and not {"avx_vnni", "avx512_vnni"} & {*found} for found in flags)


def _versions() -> dict[str, str]:
    """Versions of the installed PACKAGES."""
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
