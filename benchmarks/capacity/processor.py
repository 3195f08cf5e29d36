"""A processor or a GPU that everything running shares."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

import simpy


class Processor:
    """Cores shared fairly by all executions that run: processor sharing.

    An execution of `threads` threads gets that many cores while there are enough, and its fair
    share when there are not. Beyond that, each runs slower by `contention` (a share, 0 is none)
    as soon as two or more run, since they share caches and memory as well.

    All executions advance at one speed, so a clock that runs at that speed orders their ends.
    """

    def __init__(self, env: simpy.Environment, cores: float, contention: float = 0.0) -> None:
        self._env = env
        self._cores = cores
        self._contention = contention
        self._ends: list[tuple[float, int, float, Callable[[], None]]] = []
        self._order = count()
        self._threads = 0.0
        self._progress_s = 0.0
        self._seen_s = env.now
        self._busy_core_s = 0.0
        self._timer = 0

    def run(self, seconds: float, threads: float, done: Callable[[], None]) -> None:
        """Call `done` when work that takes `seconds` alone is done."""
        self._advance()
        end = self._progress_s + seconds
        heapq.heappush(self._ends, (end, next(self._order), threads, done))
        self._threads += threads
        self._set_timer()

    def busy_core_s(self) -> float:
        """Core seconds used until now."""
        self._advance()
        return self._busy_core_s

    def _speed(self) -> float:
        shared = min(1.0, self._cores / self._threads) if self._threads else 1.0
        return shared / (1 + self._contention) if len(self._ends) > 1 else shared

    def _advance(self) -> None:
        elapsed = self._env.now - self._seen_s
        if self._ends:
            self._progress_s += elapsed * self._speed()
            self._busy_core_s += elapsed * min(self._threads, self._cores)
        self._seen_s = self._env.now

    def _set_timer(self) -> None:
        """Wake at the next end; only the newest timer counts."""
        self._timer += 1
        if self._ends:
            left_s = max(self._ends[0][0] - self._progress_s, 0.0) / self._speed()
            timeout = self._env.timeout(left_s, value=self._timer)
            timeout.callbacks.append(self._wake)

    def _wake(self, timeout: simpy.Event) -> None:
        if timeout.value != self._timer:
            return
        self._advance()
        # The timer was set for the first of them, which must end despite rounding.
        self._progress_s = max(self._progress_s, self._ends[0][0])
        finished = []
        while self._ends and self._ends[0][0] <= self._progress_s:
            _, _, threads, done = heapq.heappop(self._ends)
            self._threads -= threads
            finished.append(done)
        if not self._ends:
            self._threads = 0.0
        self._set_timer()
        for done in finished:
            done()
