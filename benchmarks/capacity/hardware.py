"""The catalogue of GPUs, hardware.json: public figures, each with its source."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks.capacity.errors import UnknownHardware
from benchmarks.capacity.service_times import GPU, ServiceTimes

CATALOGUE = Path(__file__).with_name("hardware.json")


@dataclass(frozen=True)
class Hardware:
    """One kind of GPU. tensor_tflops: dense fp16. dollars_per_hour: None if unknown."""

    kind: str
    driver_names: tuple[str, ...]
    tensor_tflops: float
    memory_gb_per_s: float
    figures_from: str
    dollars_per_hour: float | None
    price_from: str
    price_date: str


@cache
def catalogue() -> tuple[Hardware, ...]:
    """All kinds of GPU."""
    return TypeAdapter(tuple[Hardware, ...]).validate_python(
        json.loads(CATALOGUE.read_text())["gpus"]
    )


def find(name: str) -> Hardware | None:
    """Find a GPU by its kind or by its driver's name for it."""
    named = (gpu for gpu in catalogue() if name in (gpu.kind, *gpu.driver_names))
    return next(named, None)


def scaled(times: ServiceTimes, target: Hardware) -> ServiceTimes:
    """Another GPU's service times: an estimate, and its origin says so.

    Every execution on the GPU takes longer by the larger of two ratios, arithmetic and memory
    bandwidth. The steps on the processor stay as measured.

    Raises:
        UnknownHardware: the times were not measured on a GPU of the catalogue.
    """
    source = find(times.kind)
    if source is None or all(step.place != GPU for step in times.steps):
        raise UnknownHardware(
            f"the times of {times.kind} were measured without a GPU of the catalogue, and say "
            f"nothing of {target.kind}: measure on any of {', '.join(g.kind for g in catalogue())}"
        )
    slower = max(
        source.tensor_tflops / target.tensor_tflops,
        source.memory_gb_per_s / target.memory_gb_per_s,
    )
    steps = tuple(step.scaled(slower) if step.place == GPU else step for step in times.steps)
    origin = (
        f"scaled from {source.kind}: GPU times x {slower:.2f}, by the larger ratio of fp16 "
        "arithmetic and memory bandwidth; not measured"
    )
    return dataclasses.replace(times, kind=target.kind, steps=steps, origin=origin)


def price_of(kind: str) -> tuple[float | None, str]:
    """Dollars an hour and where they come from; None if the catalogue has no price."""
    known = find(kind)
    if known is None or known.dollars_per_hour is None:
        return None, ""
    return known.dollars_per_hour, f"{known.price_from}, {known.price_date}"
