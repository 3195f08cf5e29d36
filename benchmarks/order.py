"""What a run measures, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from benchmarks.exports import ONE_BY_ONE, Source
from export.runtimes import RUNTIMES
from fovea.machine_settings import MachineSettings

# Sections of a run in their order, and their weights: each gets its part of the time that is left.
WEIGHTS: Mapping[str, float] = {
    "networks": 4.0,
    "pipelines": 2.0,
    "accuracy": 0.5,
    "loads": 7.5,
    "prompts": 0.7,
    "folder": 1.5,
    "mix": 1.0,
}
FULL_SIZE_WEIGHTS = {**WEIGHTS, "networks": 5.0, "pipelines": 6.0, "loads": 5.5, "folder": 0.5}
SECTIONS = tuple(WEIGHTS)
# Parts of the highest throughput of the closed loops that are offered in the open ones.
RATES = (0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much of everything.

    minutes: for all measurements. pictures: different ones to ask about. rounds: repetitions.
    point_s: seconds of one load, at least. arrivals: of one open loop, on average and at least.
    rates: of the open loops, as parts of what the closed ones reached. largest: concurrency.
    callers: of the served side of the pipelines. contest_s: seconds of a turn of each side.
    largest_batch: of networks called directly. scenes: judged against the truth. folder: pictures
    of the batch verb. serving: settings of the server.
    """

    minutes: float
    pictures: int
    rounds: int = 3
    point_s: float
    arrivals: int
    largest: int = 64
    callers: int
    contest_s: float
    largest_batch: int = 16
    scenes: int = 0
    folder: int
    compile: bool = True
    rates: tuple[float, ...] = RATES
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)
    serving: MachineSettings = field(default_factory=MachineSettings)


SCALES = {
    "full": Scale(
        minutes=20, pictures=256, point_s=0.7, arrivals=30, callers=16, contest_s=6,
        scenes=100, folder=1000,
    ),
    "full-size": Scale(
        minutes=25, pictures=16, point_s=2, arrivals=10, callers=2, contest_s=8,
        largest_batch=4, folder=10, weights=FULL_SIZE_WEIGHTS, serving=ONE_BY_ONE,
    ),
    "gpu": Scale(
        minutes=10, pictures=512, point_s=1.0, arrivals=100, callers=64, contest_s=5, folder=1000,
    ),
    "quick": Scale(
        minutes=3, pictures=16, rounds=2, point_s=0.05, arrivals=3, largest=2, callers=2,
        contest_s=0.1, largest_batch=2, scenes=2, folder=10, compile=False, rates=(0.5, 1.0),
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is measured, and how much of it. minutes, rounds: where they differ from the scale's."""

    checkpoint_set: str = "demo"
    scale: str = "full"
    minutes: float | None = None
    grounding_dino_edge: int | None = None
    precision: str = "fp32"
    runtime: str = "onnxruntime"
    device: str = "cpu"
    sections: tuple[str, ...] = SECTIONS
    rounds: int | None = None

    @property
    def amount(self) -> Scale:
        """The scale, with what was ordered otherwise."""
        scale = SCALES[self.scale]
        minutes, rounds = self.minutes or scale.minutes, self.rounds or scale.rounds
        return replace(scale, minutes=minutes, rounds=rounds)

    @property
    def source(self) -> Source:
        """What is exported."""
        return Source(
            self.checkpoint_set,
            edge=self.grounding_dino_edge,
            precision=self.precision,
            runtime=RUNTIMES[self.runtime],
            serving=self.amount.serving,
        )

    def record(self) -> dict[str, object]:
        """For the report."""
        amount = self.amount
        fields = asdict(self) | {"minutes": amount.minutes, "rounds": amount.rounds}
        return {"set": fields.pop("checkpoint_set")} | fields
