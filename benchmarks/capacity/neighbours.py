"""Who else used the processor while something was measured."""

from __future__ import annotations

import time

import psutil

from benchmarks.capacity.curves import processor_s


class Neighbours:
    """Cores that others used, other machines on the same host included, since it was made.

    Ours are this process and the server with its children.
    """

    def __init__(self, server_pid: int) -> None:
        server = psutil.Process(server_pid)
        self._ours = [psutil.Process(), server, *server.children(recursive=True)]
        self._begun = (time.monotonic(), _busy_s(), processor_s(self._ours))

    def cores(self) -> float:
        """On average; 0 is a quiet machine."""
        begun, busy, ours = self._begun
        others_s = (_busy_s() - busy) - (processor_s(self._ours) - ours)
        return max(0.0, others_s) / (time.monotonic() - begun)


def _busy_s() -> float:
    times = psutil.cpu_times()
    # Linux counts guests' time in `user` as well.
    guests = times.guest + times.guest_nice
    return sum(times) - guests - times.idle - times.iowait
