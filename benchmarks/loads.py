"""Callers: a closed loop, and an open one whose requests arrive whatever the server does."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# A request's number is all that a call gets: what it asks is made from that.
Call = Callable[[int], object]

# Requests of an open loop that wait for their answer at once; further ones count as refused.
MOST_WAITING = 512
# Answers per caller from which on a closed loop's beginning and end are left out.
STEADY_ANSWERS = 4
TOO_MANY = "the load generator's own limit"


@dataclass(frozen=True)
class Samples:
    """The answered requests of one run, in order of their answers.

    starts_s, ends_s: on one clock, from the beginning of the run. In an open loop a request
    starts when it was due, so a generator that falls behind flatters nobody. failures: how often
    each kind of error came. callers: of a closed loop, 0 of an open one.
    """

    starts_s: NDArray[np.float64]
    ends_s: NDArray[np.float64]
    callers: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def latencies_s(self) -> NDArray[np.float64]:
        """Of every answered request."""
        return self.ends_s - self.starts_s

    @property
    def throughput(self) -> float:
        """Answers per second while all callers were busy.

        Where a closed loop gave enough, the first and the last answer of each caller are left
        out: the callers began all at once, and towards the end fewer and fewer still asked.
        """
        count, edge = len(self.ends_s), self.callers
        if not count:
            return 0.0
        if edge and count >= STEADY_ANSWERS * edge:
            begun, ended = self.ends_s[edge - 1], self.ends_s[count - edge - 1]
            if ended > begun:
                return float((count - 2 * edge) / (ended - begun))
        return float(count / (self.ends_s[-1] - self.starts_s.min()))


def answered(samples: Samples) -> Samples:
    """The same; RuntimeError when a request was not answered."""
    if samples.failures:
        raise RuntimeError(f"requests failed: {dict(samples.failures)}")
    return samples


class _Recorder:
    """Calls, and notes when each began and ended, from any thread."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._begun = time.perf_counter()
        self._spans: list[tuple[float, float]] = []
        self.failures: Counter[str] = Counter()

    def now(self) -> float:
        return time.perf_counter() - self._begun

    def ask(self, number: int, due_s: float | None = None) -> None:
        start = self.now() if due_s is None else due_s
        try:
            self._call(number)
        except Exception as error:  # whatever goes wrong is a figure of the report
            with self._lock:
                self.failures[_kind(error)] += 1
            return
        end = self.now()
        with self._lock:
            self._spans.append((start, end))

    def samples(self, callers: int = 0) -> Samples:
        spans = np.array(sorted(self._spans, key=lambda span: span[1])).reshape(-1, 2)
        return Samples(spans[:, 0], spans[:, 1], callers, self.failures)


def _kind(error: Exception) -> str:
    code = getattr(error, "code", None)
    return f"{type(error).__name__} {code().name}" if callable(code) else type(error).__name__


def closed_loop(call: Call, concurrency: int, *, seconds: float, at_least: int = 0) -> Samples:
    """`concurrency` callers, each asks again as soon as it is answered.

    Lasts `seconds`, and longer until `at_least` requests have begun; what has begun is awaited.
    """
    recorder, numbers = _Recorder(call), itertools.count()

    def caller(_: int) -> None:
        for number in numbers:  # one counter for all callers
            if recorder.now() >= seconds and number >= at_least:
                return
            recorder.ask(number)

    with ThreadPoolExecutor(concurrency) as pool:
        for _ in pool.map(caller, range(concurrency)):
            pass
    return recorder.samples(concurrency)


def poisson_arrivals(
    rate: float, seconds: float, seed: int | tuple[int, ...]
) -> NDArray[np.float64]:
    """When requests of a Poisson process arrive within `seconds`, ascending; `rate` a second."""
    rng = np.random.default_rng(seed)
    return np.sort(rng.uniform(0, seconds, rng.poisson(rate * seconds)))


def open_loop(call: Call, arrivals_s: NDArray[np.float64]) -> Samples:
    """Asks at the given times, however many answers are still awaited."""
    recorder = _Recorder(call)
    room = threading.Semaphore(MOST_WAITING)

    def ask(number: int, due_s: float) -> None:
        recorder.ask(number, due_s)
        room.release()

    with ThreadPoolExecutor(MOST_WAITING) as pool:
        for number, due_s in enumerate(arrivals_s.tolist()):
            time.sleep(max(0.0, due_s - recorder.now()))
            if room.acquire(blocking=False):
                pool.submit(ask, number, due_s)
            else:
                recorder.failures[TOO_MANY] += 1
    return recorder.samples()
