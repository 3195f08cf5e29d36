"""The catalogue of GPUs, hardware.json: public figures, each with its source."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.capacity.errors import UnknownHardware
from benchmarks.capacity.service_times import GPU, ServiceTimes

CATALOGUE = Path(__file__).with_name("hardware.json")


@dataclass(frozen=True)
class Hardware:
    """One kind of GPU. tensor_tflops: dense fp16. dollars_per_hour: None where nobody named it."""

    kind: str
    driver_names: tuple[str, ...]
    tensor_tflops: float
    memory_gb_per_s: float
    figures_from: str
    dollars_per_hour: float | None
    price_from: str
    price_date: str


def catalogue() -> tuple[Hardware, ...]:
    """All kinds."""
    entries = json.loads(CATALOGUE.read_text())["gpus"]
    return tuple(
        Hardware(**{**entry, "driver_names": tuple(entry["driver_names"])}) for entry in entries
    )


def find(name: str) -> Hardware:
    """By its kind or by the name that its driver gives; UnknownHardware lists what there is."""
    for hardware in catalogue():
        if name in (hardware.kind, *hardware.driver_names):
            return hardware
    kinds = ", ".join(hardware.kind for hardware in catalogue())
    raise UnknownHardware(f"{name!r} is not in the catalogue, which has {kinds}")


def knows(name: str) -> bool:
    """Whether `find` would."""
    return any(name in (hardware.kind, *hardware.driver_names) for hardware in catalogue())


def scaled(times: ServiceTimes, target: Hardware) -> ServiceTimes:
    """Another GPU's service times: an estimate, and its origin says so.

    Every execution on the GPU takes longer by the larger of two ratios, arithmetic and memory,
    so by what it is slower at. The steps on the processor stay as measured.

    Raises:
        UnknownHardware: the times were not measured on a GPU of the catalogue.
    """
    if all(step.place != GPU for step in times.steps):
        raise UnknownHardware(
            f"the times of {times.kind} were measured without a GPU, and say nothing of "
            f"{target.kind}: measure on any GPU first"
        )
    source = find(times.kind)
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
    """Dollars an hour and where they come from; None for what the catalogue does not have."""
    if not knows(kind) or (hardware := find(kind)).dollars_per_hour is None:
        return None, ""
    return hardware.dollars_per_hour, f"{hardware.price_from}, {hardware.price_date}"
