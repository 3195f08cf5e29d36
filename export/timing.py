"""Times calls in turns, so that a slow moment of the machine affects all sides alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

# Each turn lasts at least this long.
TURN_S = 0.05

T = TypeVar("T")


def turns(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds per call of each, over rounds in which each has one turn."""
    repeats = {}
    for name, call in calls.items():
        call()  # warms up
        repeats[name] = max(1, round(TURN_S / max(1e-6, seconds_per_call(call, 1))))
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(rounds):
        for name in in_turn([*calls], index):
            seconds[name].append(seconds_per_call(calls[name], repeats[name]))
    return seconds


def in_turn(names: list[T], index: int) -> list[T]:
    """The order of a round: every second one runs backwards, so that drift evens out."""
    return names if index % 2 == 0 else names[::-1]


def seconds_per_call(call: Callable[[], object], repeats: int) -> float:
    """The mean of `repeats` calls in a row."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats
