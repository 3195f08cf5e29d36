"""What one machine needs for each step of a verb, as frozen data: measured, never guessed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.capacity.errors import InvalidReport
from fovea.specs import from_json

CPU, GPU = "cpu", "gpu"


@dataclass(frozen=True)
class BatchCurve:
    """Seconds of one execution for each measured batch size, ascending, and its threads.

    Interpolated between two sizes, extrapolated beyond the last one. threads: processors that an
    execution keeps busy, by size; those of the last size beyond it. () means one.
    """

    batches: tuple[int, ...]
    seconds: tuple[float, ...]
    threads: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """ValueError unless sizes ascend from 1, and every time and threads are above 0."""
        ascending = all(a < b for a, b in zip(self.batches, self.batches[1:], strict=False))
        if not ascending or self.batches[:1] != (1,) or len(self.batches) != len(self.seconds):
            raise ValueError(f"expected a time for each batch size from 1 up, got {self.batches}")
        if len(self.threads) not in (0, len(self.batches)):
            raise ValueError(f"expected threads of {len(self.batches)} sizes, got {self.threads}")
        if min(self.seconds + self.threads) <= 0:
            raise ValueError(f"expected above 0, got times {self.seconds}, threads {self.threads}")

    def at(self, batch: int) -> float:
        """Seconds of one execution of `batch` requests."""
        if len(self.batches) == 1:
            return self.seconds[0] * batch
        # Noise can make a larger batch look faster; it never takes less than a smaller one.
        seconds = np.maximum.accumulate(self.seconds)
        beyond = max(0, batch - self.batches[-1])
        slope = (seconds[-1] - seconds[-2]) / (self.batches[-1] - self.batches[-2])
        return float(np.interp(batch, self.batches, seconds) + slope * beyond)

    def threads_at(self, batch: int) -> float:
        """Processors that an execution of `batch` requests keeps busy."""
        return float(np.interp(batch, self.batches, self.threads)) if self.threads else 1.0

    def scaled(self, factor: float) -> BatchCurve:
        """The same curve with every time multiplied."""
        return dataclasses.replace(self, seconds=tuple(factor * s for s in self.seconds))


@dataclass(frozen=True)
class Step:
    """One model of a verb: its batcher, its instances, and how long it takes when alone.

    after: the steps whose answers it needs. place: `cpu` or `gpu`. instances and max_queue, the
    requests that may wait: 0 is no limit.
    """

    model: str
    after: tuple[str, ...]
    curve: BatchCurve
    place: str = CPU
    instances: int = 1
    max_batch: int = 1
    max_queue: int = 0

    def scaled(self, factor: float) -> Step:
        """The same step, taking `factor` times as long."""
        return dataclasses.replace(self, curve=self.curve.scaled(factor))


@dataclass(frozen=True)
class ServiceTimes:
    """One verb on one kind of machine.

    kind: the machine's name in the hardware catalogue or a name of its own. models: what was
    served, for people. steps: in an order in which each comes after those that it needs.
    cores: of the processor. contention: by which share work slows down when more than one
    execution shares a processor or a GPU, beyond the sharing itself. spread: what a request's
    own times are multiplied by, quantiles from lowest to highest, mean 1. origin: how the times
    were obtained.
    """

    verb: str
    kind: str
    models: str
    cores: int
    steps: tuple[Step, ...]
    contention: float = 0.0
    spread: tuple[float, ...] = (1.0,)
    origin: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)

    def alone_s(self) -> float:
        """Seconds of one request when there is no other: the longest way through the steps."""
        ends: dict[str, float] = {}
        for step in self.steps:
            start = max((ends[name] for name in step.after), default=0.0)
            ends[step.model] = start + step.curve.at(1)
        return max(ends.values())


def read(path: Path) -> ServiceTimes:
    """Service times from the file that `benchmarks.capacity.measure` wrote.

    Raises:
        InvalidReport: no such file, or its content is something else.
    """
    try:
        return from_json(ServiceTimes, path.read_text())
    except OSError as exc:
        raise InvalidReport(f"{path}: {exc.strerror}") from exc
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise InvalidReport(f"{path} does not hold service times: {exc}") from exc


def write(times: ServiceTimes, path: Path) -> None:
    """Write what `read` reads, for people to read too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dataclasses.asdict(times), indent=1) + "\n")
