"""The python-backend processes (stubs) of one tritonserver."""

import contextlib
from dataclasses import dataclass

import psutil

from fovea_server.installation import STUB
from fovea_server.orphans import remove_regions

# A stub's arguments are its own path, the model's path and its shared memory's name; the last two
# are the instance's name and the runtime's.
_REGION_ARGUMENT = 2
_INSTANCE_ARGUMENT = -2


@dataclass(frozen=True)
class Stub:
    """One python-backend process: one instance of one model.

    Attributes:
        instance: the name of the model instance, such as "detector_0_0"; empty if the process had
        died before it was first seen.
        region: name of its shared memory in /dev/shm, empty in the same case.
    """

    process: psutil.Process
    instance: str
    region: str

    def is_zombie(self) -> bool:
        """Whether it has died without Triton noticing.

        Triton reaps a stub that it ended itself at once, so its process id vanishes. One that died
        by itself stays a zombie until its model is reloaded, or, from Triton 25.12 on, until
        somebody asks whether the model is ready.
        """
        try:
            return bool(self.process.status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    def has_vanished(self) -> bool:
        """Whether its process id is gone: it was stopped, or it died and was reaped."""
        return not self.process.is_running()

    def is_alive(self) -> bool:
        """Whether it runs."""
        return not (self.has_vanished() or self.is_zombie())

    def remove_shared_memory(self) -> None:
        """Remove a killed stub's files from /dev/shm."""
        if self.region:
            remove_regions(self.region)


def stubs_of(server_pid: int) -> list[Stub]:
    """The stubs among tritonserver's children, including dead ones; none if it has ended."""
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
        return [Stub(process, "", "")]
    if len(arguments) <= _REGION_ARGUMENT or not arguments[0].endswith(STUB):
        # Not a stub yet: bash, which becomes one.
        return []
    return [Stub(process, arguments[_INSTANCE_ARGUMENT], arguments[_REGION_ARGUMENT])]
