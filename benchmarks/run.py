"""One run: export, serve, measure; each section in its part of the time."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import torch
from fovea_client import Client
from fovea_server import EmbeddedServer
from rich.console import Console

from benchmarks import pipelines, scenarios
from benchmarks.baselines import DirectEnsemble, PlainPipeline
from benchmarks.exports import PICTURE_NETWORKS, Exported, export
from benchmarks.figures import Budget
from benchmarks.networks import EAGER, ONNX, DirectNetworks
from benchmarks.order import Order
from benchmarks.questions import Question, questions
from benchmarks.results import Results, best_batch
from benchmarks.sweep import Sweep
from benchmarks.targets import Target, all_targets
from export.machine import machine
from fovea.local import Runner

SCENARIOS = (scenarios.prompts, scenarios.folder, scenarios.mix)
# The closed loops' share of the time for loads.
CLOSED_SHARE = 2 / 3
# Seeds of scenes that nothing else of the project uses.
LOAD_SEED, CONTEST_SEED = 3_000_000, 3_100_000


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
        self.direct = DirectNetworks(self.exported, self.order.device, scale, self.say)
        wanted = {*self.order.sections}
        wanted |= {"networks"} if "pipelines" in wanted else set()
        with all_targets(self.client, asked, self.exported.networks) as targets:
            ground = scenarios.Ground(self.client, targets, scale, self.say)
            sections: dict[str, Callable[[Budget], None]] = {
                "networks": self._networks,
                "pipelines": self._pipelines,
                "accuracy": self._accuracy,
                "loads": partial(self._loads, targets),
                **{scene.__name__: partial(self._scenario, scene, ground) for scene in SCENARIOS},
            }
            chosen = [name for name in sections if name in wanted]
            for place, name in enumerate(chosen):
                weights = [scale.weights[section] for section in chosen[place:]]
                sections[name](budget.share(weights[0] / sum(weights)))

    def _networks(self, budget: Budget) -> None:
        self.results.networks = self.direct.measure(budget)

    def _pipelines(self, budget: Budget) -> None:
        exported, scale = self.exported, self.scale

        def direct(name: str, side: str, runners: Mapping[str, Runner]) -> pipelines.Side:
            batch = best_batch(self.results.networks, side, PICTURE_NETWORKS)
            ensemble = DirectEnsemble("main_object", exported, runners)
            return pipelines.direct_side(name, ensemble, batch)

        def ask(first: int, count: int) -> list[Question]:
            return questions(range(CONTEST_SEED + first, CONTEST_SEED + first + count))

        sides = [
            pipelines.plain_side(PlainPipeline(exported, self.order.device)),
            direct("pytorch", EAGER, self.direct.torch),
            direct("onnxruntime", ONNX, self.direct.onnx),
            pipelines.served_side(self.client, scale.callers),
        ]
        found = pipelines.contest(sides, scale, ask, budget, self.say)
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
        sweep = Sweep(self.server, targets, self.scale, self.say)
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
