"""One run: export, serve, measure; how much of everything, in which order, in which time."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import torch
from fovea_client import Client
from fovea_server import EmbeddedServer
from rich.console import Console

from benchmarks import pipelines, scenarios
from benchmarks.baselines import PlainPipeline
from benchmarks.exports import (
    CHECKPOINT_SETS,
    ONE_BY_ONE,
    PICTURE_NETWORKS,
    Exported,
    Source,
    export,
)
from benchmarks.figures import Budget
from benchmarks.networks import EAGER, ONNX, DirectNetworks
from benchmarks.questions import Question, questions
from benchmarks.results import Results, best_batch
from benchmarks.sweep import RATES, Sweep
from benchmarks.targets import Target, all_targets
from export.machine import machine
from export.precision import PRECISIONS
from export.runtimes import RUNTIMES
from fovea.machine_settings import MachineSettings

SCENARIOS = (scenarios.prompts, scenarios.folder, scenarios.mix)
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
# Of the loads: what the closed loops get.
CLOSED_SHARE = 2 / 3
# Seeds of scenes that nothing else of the project uses.
LOAD_SEED, CONTEST_SEED = 3_000_000, 3_100_000


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    minutes: for all measurements, unless told otherwise. pictures: different ones to ask about.
    rounds: repetitions. point_s: seconds of one load, at least. arrivals: of one open loop, on
    average and at least. rates: of the open loops, as parts of what the closed ones reached.
    largest: concurrency. callers: of the served side of the pipelines.
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
    rates: tuple[float, ...] = RATES
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)
    serving: MachineSettings = field(default_factory=MachineSettings)


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
        rates=(0.5, 1.0),
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is measured, and how much of it; ValueError for a name that is none."""

    checkpoint_set: str = "demo"
    scale: str = "full"
    minutes: float | None = None
    grounding_dino_edge: int | None = None
    precision: str = "fp32"
    runtime: str = "onnxruntime"
    device: str = "cpu"
    sections: tuple[str, ...] = SECTIONS
    rounds: int | None = None

    def __post_init__(self) -> None:
        _check("set", [self.checkpoint_set], CHECKPOINT_SETS)
        _check("scale", [self.scale], SCALES)
        _check("precision", [self.precision], PRECISIONS)
        _check("runtime", [self.runtime], RUNTIMES)
        _check("section", self.sections, SECTIONS)

    @property
    def amount(self) -> Scale:
        """The scale, with what was ordered otherwise."""
        scale = SCALES[self.scale]
        minutes, rounds = self.minutes or scale.minutes, self.rounds or scale.rounds
        return replace(scale, minutes=minutes, rounds=rounds)

    @property
    def source(self) -> Source:
        """What is exported."""
        runtime = RUNTIMES[self.runtime]
        return Source(
            self.checkpoint_set,
            edge=self.grounding_dino_edge,
            precision=self.precision,
            runtime=runtime,
            serving=self.amount.serving,
        )

    def record(self) -> dict[str, object]:
        """For the report."""
        amount = self.amount
        fields = asdict(self) | {"minutes": amount.minutes, "rounds": amount.rounds}
        return {"set": fields.pop("checkpoint_set")} | fields


def _check(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"expected a {kind} of {', '.join(known)}, got {name!r}")


def run(order: Order, console: Console) -> Results:
    """Everything that was ordered; progress goes to the console."""
    torch.set_num_threads(os.cpu_count() or 1)
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    results = Results(order.record(), machine(), started)
    with console.status("exporting") as status, tempfile.TemporaryDirectory() as place:
        exported = export(order.source, lambda name, what: status.update(f"{name}: {what}"))
        status.update("starting Triton")
        serving = exported.without_hits(order.amount.pictures)
        with exported.served(serving, Path(place) / "repository") as (server, client):
            begun = time.monotonic()
            # A status line where somebody watches, or else a line for each step.
            say = status.update if console.is_terminal else console.print
            _Run(order, exported, server, client, results, say).measure()
    results.seconds = time.monotonic() - begun
    return results


@dataclass
class _Run:
    """The sections, which share the server, the time and the results."""

    order: Order
    exported: Exported
    server: EmbeddedServer
    client: Client
    results: Results
    say: Callable[[str], None]

    def measure(self) -> None:
        """Every section that was ordered, each in its share of the time that is left."""
        scale = self.scale = self.order.amount
        budget = Budget.of(60 * scale.minutes)
        budget.left_out = self.results.left_out
        asked = questions(range(LOAD_SEED, LOAD_SEED + scale.pictures))
        # The pipelines need the networks' runners, whoever ordered those.
        direct = DirectNetworks(
            self.exported,
            device=self.order.device,
            largest=scale.largest_batch,
            compile=scale.compile,
            say=self.say,
        )
        wanted = {*self.order.sections}
        wanted |= {"networks"} if "pipelines" in wanted else set()
        with all_targets(self.client, asked, self.exported.networks) as targets:
            ground = scenarios.Ground(
                self.client, targets, scale.rounds, 2 * scale.point_s, scale.folder, self.say
            )
            sections: dict[str, Callable[[Budget], None]] = {
                "networks": lambda share: self._networks(direct, share),
                "pipelines": lambda share: self._pipelines(direct, share),
                "accuracy": self._accuracy,
                "loads": lambda share: self._loads(targets, share),
                **{s.__name__: partial(self._scenario, s, ground) for s in SCENARIOS},
            }
            chosen = [name for name in sections if name in wanted]
            for place, name in enumerate(chosen):
                weights = [scale.weights[section] for section in chosen[place:]]
                sections[name](budget.share(weights[0] / sum(weights)))

    def _networks(self, direct: DirectNetworks, budget: Budget) -> None:
        self.results.networks = direct.measure(self.scale.rounds, budget)

    def _pipelines(self, direct: DirectNetworks, budget: Budget) -> None:
        exported, scale = self.exported, self.scale

        def batch(side: str) -> int:
            return best_batch(self.results.networks, side, PICTURE_NETWORKS)

        sides = [
            pipelines.PlainSide(PlainPipeline(exported, self.order.device)),
            pipelines.DirectSide("pytorch", exported, direct.torch, batch(EAGER)),
            pipelines.DirectSide("onnxruntime", exported, direct.onnx, batch(ONNX)),
            pipelines.ServedSide(self.client, scale.callers),
        ]

        def ask(first: int, count: int) -> list[Question]:
            return questions(range(CONTEST_SEED + first, CONTEST_SEED + first + count))

        contest = pipelines.Contest(sides, scale.rounds, scale.contest_s, self.say)
        found = contest.run(ask, budget)
        if exported.source.has_truth and scale.scenes:
            self.say("accuracy of each side")
            scenes = pipelines.trials(scale.scenes)
            accuracies = [pipelines.accuracy_of_side(side, scenes) for side in sides]
            found = [replace(one, accuracy=a) for one, a in zip(found, accuracies, strict=True)]
        self.results.pipelines = found

    def _accuracy(self, budget: Budget) -> None:
        if self.exported.source.has_truth and self.scale.scenes:
            self.say("accuracy")
            scenes = pipelines.trials(self.scale.scenes)
            self.results.accuracy = pipelines.accuracy_of_server(self.client, scenes)

    def _loads(self, targets: Sequence[Target], budget: Budget) -> None:
        scale = self.scale
        sweep = Sweep(
            self.server,
            targets,
            rounds=scale.rounds,
            point_s=scale.point_s,
            arrivals=scale.arrivals,
            largest=scale.largest,
            rates=scale.rates,
            say=self.say,
        )
        sweep.close_loops(budget.share(CLOSED_SHARE))
        sweep.open_loops(budget)
        self.results.targets = sweep.results()

    def _scenario(
        self,
        scenario: Callable[[scenarios.Ground, Budget], object],
        ground: scenarios.Ground,
        budget: Budget,
    ) -> None:
        setattr(self.results.sections, scenario.__name__, scenario(ground, budget))
