"""Who used the processor while something was measured: we, and others."""

from __future__ import annotations

import time

import psutil

from benchmarks.capacity.curves import processor_s


class ProcessorUse:
    """Since it was made. Ours are this process and the server with its children; others may be
    other machines on the same host."""

    def __init__(self, server_pid: int) -> None:
        server = psutil.Process(server_pid)
        self._around = [psutil.Process(), server]
        self._ours = [*self._around, *server.children(recursive=True)]
        self._begun = (time.monotonic(), _busy_s(), processor_s(self._ours))
        self._around_begun = processor_s(self._around)

    def ours_s(self) -> float:
        """Processor seconds."""
        return processor_s(self._ours) - self._begun[2]

    def around_s(self) -> float:
        """Processor seconds of ours without the server's children."""
        return processor_s(self._around) - self._around_begun

    def foreign_cores(self) -> float:
        """That others used, on average; 0 is a quiet machine."""
        others_s = (_busy_s() - self._begun[1]) - self.ours_s()
        return max(0.0, others_s) / (time.monotonic() - self._begun[0])


def _busy_s() -> float:
    times = psutil.cpu_times()
    # Linux counts guests' time in `user` as well.
    guests = times.guest + times.guest_nice
    return sum(times) - guests - times.idle - times.iowait
