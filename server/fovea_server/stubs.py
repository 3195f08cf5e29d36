"""The python-backend processes (stubs) of one tritonserver."""

import contextlib
from dataclasses import dataclass

import psutil

from fovea_server.installation import STUB
from fovea_server.orphans import regions_of, remove_regions

# A stub's arguments end with the instance's name and the runtime's.
_INSTANCE_ARGUMENT = -2


@dataclass(frozen=True)
class Stub:
    """One python-backend process: one instance of one model.

    Attributes:
        instance: the name of the model instance, such as "detector_0_0"; empty when the process
            had died before it was first seen.
        regions: names of its shared memory in /dev/shm.
    """

    process: psutil.Process
    instance: str
    regions: tuple[str, ...]

    def is_zombie(self) -> bool:
        """Whether it has died and Triton has not looked.

        Triton collects a stub that it ended itself at once, so that its process id vanishes; one
        that died by itself stays a zombie until its model is loaded anew.
        """
        try:
            return bool(self.process.status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    def remove_shared_memory(self) -> None:
        """Removes what a killed stub has left in /dev/shm."""
        remove_regions(list(self.regions))


def stubs_of(server_pid: int) -> list[Stub]:
    """The stubs among the children of tritonserver, dead ones too; none when it has ended."""
    found: list[Stub] = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(server_pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                found += _stub(process)
    return found


def _stub(process: psutil.Process) -> list[Stub]:
    try:
        arguments = process.cmdline()
    except psutil.ZombieProcess:
        return [Stub(process, "", ())]
    if not arguments or not arguments[0].endswith(STUB):
        return []
    return [Stub(process, arguments[_INSTANCE_ARGUMENT], tuple(regions_of(arguments)))]
