"""How much is measured, and what share of the time each section gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fovea.pipeline import BatchSizes, Settings

# Sections of a run in their order, and their weights: each gets its part of the time that is left.
WEIGHTS: Mapping[str, float] = {
    "networks": 4.0,
    "pipelines": 2.0,
    "accuracy": 0.5,
    "closed": 5.0,
    "open": 2.5,
    "prompts": 0.7,
    "folder": 1.5,
    "mix": 1.0,
    "perf_analyzer": 1.0,
}
FULL_SIZE_WEIGHTS = {**WEIGHTS, "networks": 5.0, "pipelines": 6.0, "closed": 3.0, "folder": 0.5}

# Pictures of full size fill a processor one by one, and eight of them take gigabytes.
ONE_BY_ONE = Settings(BatchSizes(grounding_dino=1, sam_image_encoder=1))


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    minutes: for all measurements, unless told otherwise. pictures: different ones to ask about.
    rounds: repetitions. point_s: seconds of one load, at least. arrivals: of one open loop, on
    average and at least. largest: concurrency. callers: of the served side of the pipelines.
    contest_s: seconds of a turn of each side. largest_batch: of networks called directly. scenes:
    judged against the truth. folder: pictures of the batch verb. serving: settings of the server.
    """

    minutes: float
    pictures: int
    rounds: int
    point_s: float
    arrivals: int
    largest: int
    callers: int
    contest_s: float
    largest_batch: int
    scenes: int
    folder: int
    compile: bool = True
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)
    serving: Settings | None = None


SCALES = {
    "full": Scale(
        minutes=20, pictures=256, rounds=3, point_s=0.7, arrivals=30, largest=64,
        callers=16, contest_s=6, largest_batch=16, scenes=100, folder=1000,
    ),
    "full-size": Scale(
        minutes=25, pictures=16, rounds=3, point_s=2, arrivals=10, largest=64,
        callers=2, contest_s=8, largest_batch=4, scenes=0, folder=10, weights=FULL_SIZE_WEIGHTS,
        serving=ONE_BY_ONE,
    ),
    "gpu": Scale(
        minutes=10, pictures=512, rounds=3, point_s=1.0, arrivals=100, largest=64,
        callers=64, contest_s=5, largest_batch=16, scenes=0, folder=1000,
    ),
    "quick": Scale(
        minutes=3, pictures=16, rounds=2, point_s=0.05, arrivals=3, largest=2,
        callers=2, contest_s=0.1, largest_batch=2, scenes=2, folder=10, compile=False,
    ),
}  # fmt: skip
