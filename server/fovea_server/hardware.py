"""The hardware that decides tritonserver's command line."""

import os
from dataclasses import dataclass
from pathlib import Path

from fovea.cores import cores

_DEVICES = Path("/dev")


@dataclass(frozen=True)
class Hardware:
    """Attributes:
    gpus: how many NVIDIA GPUs CUDA will show to tritonserver, as far as can be told without it.
    cores: physical cores that it may use.
    """

    gpus: int
    cores: int


def this_machine() -> Hardware:
    """The GPUs that have a device file here and are not hidden, and the cores."""
    return Hardware(gpus=_gpus(), cores=cores())


def _gpus() -> int:
    # Under WSL one device stands for all GPUs.
    present = len([*_DEVICES.glob("nvidia[0-9]*")]) or int((_DEVICES / "dxg").exists())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if not present or visible is None:
        return present
    # CUDA stops reading at the first entry that names no device.
    named = [entry.strip() for entry in visible.split(",")]
    hidden = next((at for at, entry in enumerate(named) if entry in {"", "-1"}), len(named))
    return len(named[:hidden])
