"""One run: export, serve, measure; the order of things and the time for each."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import torch
from fovea_client import Client
from fovea_server import EmbeddedServer
from rich.console import Console

from benchmarks import accuracy, folder, mix, perf_analyzer, pipelines, prompts
from benchmarks.budget import Budget
from benchmarks.exports import CHECKPOINT_SETS, Exported, Source, export
from benchmarks.machine import machine, resident_mb
from benchmarks.networks import EAGER, ONNX, DirectNetworks, best_batch
from benchmarks.questions import Question, questions
from benchmarks.results import Results
from benchmarks.scales import SCALES, Scale
from benchmarks.sweep import Server, Sweep, SweepSettings
from benchmarks.targets import Target, all_targets
from demo.served import demo_server
from export.precision import PRECISIONS
from export.runtimes import RUNTIMES
from fovea import clip, grounding_dino, sam
from fovea.pipeline import PipelineSpec

SECTIONS = ("networks", "pipelines", "accuracy", "loads", "prompts", "folder", "mix",
            "perf_analyzer")  # fmt: skip
# Seeds of scenes that nothing else of the project uses: for loads, contests and prompts.
LOAD_SEED, CONTEST_SEED, PROMPT_SEED = 3_000_000, 3_100_000, 3_200_000
TIMEOUT_S = 600.0
EXIT_TIMEOUT_S = 5
# main_object's networks on every picture; labels are embedded once and kept.
PICTURE_NETWORKS = (
    clip.IMAGE_ENCODER,
    grounding_dino.NETWORK,
    sam.IMAGE_ENCODER,
    sam.MASK_DECODER,
)


@dataclass(frozen=True)
class Settings:
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
    def source(self) -> Source:
        """What is exported."""
        return Source(
            self.checkpoint_set,
            self.grounding_dino_edge,
            self.precision,
            RUNTIMES[self.runtime],
            SCALES[self.scale].serving,
        )

    @property
    def seconds(self) -> float:
        """For all measurements."""
        return 60 * (self.minutes or SCALES[self.scale].minutes)

    def record(self) -> dict[str, object]:
        """For the report."""
        rounds = self.rounds or SCALES[self.scale].rounds
        fields = asdict(self) | {"minutes": self.seconds / 60, "rounds": rounds}
        return {"set": fields.pop("checkpoint_set")} | fields


def _check(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"expected a {kind} of {', '.join(known)}, got {name!r}")


def run(settings: Settings, console: Console) -> Results:
    """Everything that the settings name; progress goes to the console."""
    torch.set_num_threads(os.cpu_count() or 1)
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    results = Results(settings.record(), machine(), started)
    with console.status("exporting") as status:
        exported = export(settings.source, lambda name, what: status.update(f"{name}: {what}"))
        status.update("starting Triton")
        with _serving(exported, SCALES[settings.scale].pictures) as server:
            begun = time.monotonic()
            # A status line where somebody watches, or else a line for each step.
            say = status.update if console.is_terminal else console.print
            _Run(settings, exported, server, results, say).measure()
    results.seconds = time.monotonic() - begun
    return results


def _serving(exported: Exported, pictures: int):
    """With a response cache for half of the pictures: asked in turn, none is ever found there."""
    room = pictures // 2 * embedding_bytes(exported.loaded.pipeline)
    repository = exported.export.repository
    return demo_server(repository, cache_size_bytes=room, exit_timeout_s=EXIT_TIMEOUT_S)


def embedding_bytes(pipeline: PipelineSpec) -> int:
    """Of SAM's embedding of a picture, float32."""
    return 4 * pipeline.sam.embedding_channels * pipeline.sam.embedding_edge**2


class _Run:
    """The sections, which share the server, the time and the results."""

    def __init__(
        self,
        settings: Settings,
        exported: Exported,
        server: EmbeddedServer,
        results: Results,
        say: Callable[[str], None],
    ) -> None:
        self.settings, self.exported, self.server = settings, exported, server
        self.results, self.say = results, say
        scale = SCALES[settings.scale]
        self.scale: Scale = replace(scale, rounds=settings.rounds or scale.rounds)
        self.budget = Budget.of(settings.seconds)
        self.budget.left_out = results.left_out
        self._weights = {
            name: weight
            for name, weight in self.scale.weights.items()
            if (name if name not in ("closed", "open") else "loads") in settings.sections
        }

    def measure(self) -> None:
        """Every section that was asked for."""
        asked = questions(range(LOAD_SEED, LOAD_SEED + self.scale.pictures))
        url = self.server.grpc_url
        chosen = self.settings.sections
        if {"networks", "pipelines"} & {*chosen}:
            self._baselines()
        with Client(url, timeout_s=TIMEOUT_S) as client:
            if "accuracy" in chosen and self.exported.source.has_truth and self.scale.scenes:
                self.say("accuracy")
                scenes = accuracy.trials(self.scale.scenes)
                self.results.accuracy = accuracy.of_server(client, scenes)
            networks = self.exported.loaded.networks
            with all_targets(url, asked, networks, TIMEOUT_S) as targets:
                if "loads" in chosen:
                    self._loads(targets)
                self._many(client, targets, asked)

    def _share(self, section: str) -> Budget:
        """The section's part of what is left."""
        weight = self._weights.pop(section)
        return self.budget.share(weight / (weight + sum(self._weights.values())))

    def _baselines(self) -> None:
        scale, exported = self.scale, self.exported
        direct = DirectNetworks(
            exported.loaded.networks,
            exported.export,
            device=self.settings.device,
            largest=scale.largest_batch,
            compile=scale.compile,
            say=self.say,
        )
        networks = self._share("networks") if "networks" in self._weights else self.budget
        self.results.networks = direct.measure(scale.rounds, networks)
        if "pipelines" in self.settings.sections:
            with Client(self.server.grpc_url, timeout_s=TIMEOUT_S) as client:
                self._pipelines(direct, client)

    def _pipelines(self, direct: DirectNetworks, client: Client) -> None:
        sides = self._sides(direct, client)
        contest = pipelines.Contest(sides, self.scale.rounds, self.scale.contest_s, self.say)

        def ask(first: int, count: int) -> list[Question]:
            return questions(range(CONTEST_SEED + first, CONTEST_SEED + first + count))

        rates = contest.run(ask, self._share("pipelines"))
        found = pipelines.results(sides, rates)
        if self.exported.source.has_truth and self.scale.scenes:
            self.say("accuracy of each side")
            found = accuracy.judge_sides(found, sides, accuracy.trials(self.scale.scenes))
        self.results.pipelines = found

    def _sides(self, direct: DirectNetworks, client: Client) -> list[pipelines.Side]:
        spec, exported = self.exported.loaded.pipeline, self.exported
        tokenizers = exported.export.repository / "preprocess_image" / "1"
        batches = {
            side: best_batch(self.results.networks, side, PICTURE_NETWORKS)
            for side in (EAGER, ONNX)
        }
        plain = pipelines.PlainPipeline(exported.folder_of_checkpoints, spec, self.settings.device)
        return [
            pipelines.PlainSide(plain),
            pipelines.DirectSide("pytorch", spec, direct.torch, tokenizers, batches[EAGER]),
            pipelines.DirectSide("onnxruntime", spec, direct.onnx, tokenizers, batches[ONNX]),
            pipelines.ServedSide(client, self.scale.callers),
        ]

    def _loads(self, targets: Sequence[Target]) -> None:
        place = Server(self.server.grpc_url, lambda: resident_mb(self.server.pid))
        scale = self.scale
        settings = SweepSettings(scale.rounds, scale.point_s, scale.arrivals, scale.largest)
        sweep = Sweep(place, targets, settings, self.say)
        sweep.close_loops(self._share("closed"))
        sweep.open_loops(self._share("open"))
        self.results.targets = sweep.results()

    def _many(self, client: Client, targets: Sequence[Target], asked: list[Question]) -> None:
        """Many prompts, many pictures, many verbs; and the cross-check."""
        chosen, scale, sections = self.settings.sections, self.scale, self.results.sections
        if "prompts" in chosen:
            self.say("many prompts on one picture")
            pictures = questions(
                range(PROMPT_SEED, PROMPT_SEED + scale.rounds * len(prompts.COUNTS))
            )
            budget = self._share("prompts")
            sections["prompts"] = prompts.measure(client, pictures, scale.rounds, budget)
        if "folder" in chosen:
            with tempfile.TemporaryDirectory() as place:
                sections["folder"] = folder.measure(
                    client, Path(place), scale.folder, self._share("folder"), self.say
                )
        if "mix" in chosen:
            verbs = [target for target in targets if target.kind == "verb"]
            seconds = 2 * scale.point_s
            sections["mix"] = mix.measure(
                verbs, scale.rounds, seconds, self._share("mix"), self.say
            )
        if "perf_analyzer" in chosen:
            sections["perf_analyzer"] = perf_analyzer.measure(
                self.server.grpc_url, targets, asked, 2 * scale.point_s,
                self._share("perf_analyzer"), self.say,
            )  # fmt: skip
