"""`python -m benchmarks.tune`: how many instances, threads and pictures a batch suit this machine.

Walks from knob to knob and tries each value against the best so far: both are served at once and
take turns under the same closed loop of main_object. A value is kept only if it won every
turn and by more than NOISE, and its p99 grew by no more than LATENCY_GROWTH. The final choice is
measured once more against the defaults, and written as settings that the export reads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import typer
from fovea_client import Client
from rich.console import Console

from benchmarks.exports import (
    FIRST_STEP,
    GROUNDING_DINO,
    PICTURE_NETWORKS,
    SAM_IMAGE_ENCODER,
    Exported,
    Source,
    export,
    with_batches,
    with_placements,
)
from benchmarks.figures import Spread, percentiles
from benchmarks.loads import Samples, answered, closed_loop
from benchmarks.options import CheckpointSet, Edge, PrecisionName, RuntimeName
from benchmarks.questions import Question, questions
from benchmarks.results import write_json
from benchmarks.tables import of, on_terminal
from export.errors import ExportError
from export.machine import machine
from export.runtimes import RUNTIMES
from export.timing import in_turn
from fovea.machine_settings import MachineSettings
from fovea.specs import to_json

# A value counts as faster from this ratio on, if it also won every turn.
NOISE = 1.03
LATENCY_GROWTH = 1.10
FIRST_SEED, PICTURES = 920_000, 32
BIG = (GROUNDING_DINO, SAM_IMAGE_ENCODER)

console = Console(stderr=True)


@dataclass(frozen=True)
class Ratios:
    """One side over the other, round by round. throughput: above 1 is faster."""

    throughput: Spread
    p99: Spread

    @property
    def better(self) -> bool:
        """Whether it won every turn, by more than the noise, without a longer tail."""
        won = self.throughput.least > 1 and self.throughput.median >= NOISE
        return won and self.p99.median <= LATENCY_GROWTH


@dataclass(frozen=True)
class Attempt:
    """A value against the best before it."""

    knob: str
    value: int
    throughput: Spread
    p99: Spread
    kept: bool


@dataclass(frozen=True)
class Knob:
    """One thing to choose. `turn` gives the settings with a value, from those before."""

    name: str
    values: tuple[int, ...]
    turn: Callable[[MachineSettings, int], MachineSettings]


def knobs(exported: Exported) -> tuple[Knob, ...]:
    """What is chosen, in this order."""
    deployment = exported.loaded.deployment

    def place(field: str, *models: str) -> Callable[[MachineSettings, int], MachineSettings]:
        return lambda settings, value: with_placements(
            deployment, settings, models, **{field: value}
        )

    def batches(settings: MachineSettings, value: int) -> MachineSettings:
        return with_batches(settings, BIG, value)

    cores, networks = os.cpu_count() or 1, PICTURE_NETWORKS
    return (
        Knob("largest batch of GroundingDINO and SAM's encoder", (1, 2, 4), batches),
        Knob("threads of each network", (1, cores), place("threads", *networks)),
        Knob("instances of each network", (2,), place("instances", *networks)),
        Knob(f"instances of {FIRST_STEP}", (1, 3), place("instances", FIRST_STEP)),
        Knob("microseconds to wait for a batch", (2_000, 10_000), place("delay_us", *networks)),
    )


@dataclass(frozen=True)
class Bench:
    """Serves settings of one export, and puts the same load on two of them in turns.

    callers: of the closed loop. seconds: of a turn. rounds: turns of each side.
    """

    exported: Exported
    work: Path
    callers: int
    seconds: float
    rounds: int

    @cached_property
    def _asked(self) -> list[Question]:
        return questions(range(FIRST_SEED, FIRST_SEED + PICTURES))

    def compare(self, ours: MachineSettings, theirs: MachineSettings) -> Ratios:
        """`ours` over `theirs`, both served at once."""
        rates, tails = list[float](), list[float]()
        with self._served("ours", ours) as our, self._served("theirs", theirs) as their:
            for index in range(self.rounds):
                sides = in_turn([our, their], index)
                runs = in_turn([self._ask(side, seconds=self.seconds) for side in sides], index)
                rates.append(runs[0].throughput / runs[1].throughput)
                p99s = [percentiles(run.latencies_s)["p99_ms"] for run in runs]
                tails.append(p99s[0] / p99s[1])
        return Ratios(Spread.of(rates), Spread.of(tails))

    @contextmanager
    def _served(self, side: str, settings: MachineSettings) -> Iterator[Client]:
        """A client of a warm server with the settings."""
        with self.exported.served(settings, self.work / side) as (_, client):
            self._ask(client, seconds=0, at_least=2 * self.callers)
            yield client

    def _ask(self, client: Client, *, seconds: float, at_least: int = 0) -> Samples:
        def ask(number: int) -> object:
            question = self._asked[number % len(self._asked)]
            return client.main_object(question.jpeg, question.labels)

        return answered(closed_loop(ask, self.callers, seconds=seconds, at_least=at_least))


def search(
    bench: Bench, choices: Sequence[Knob], report: Callable[[Attempt], None]
) -> tuple[MachineSettings, list[Attempt]]:
    """The best settings found, and every attempt on the way."""
    best, attempts = MachineSettings(), []
    for knob in choices:
        start = best
        for value in knob.values:
            settings = knob.turn(start, value)
            if settings == best:
                continue
            found = bench.compare(settings, best)
            best = settings if found.better else best
            attempt = Attempt(knob.name, value, found.throughput, found.p99, found.better)
            attempts.append(attempt)
            report(attempt)
    return best, attempts


def tuned(bench: Bench, choices: Sequence[Knob], out: Path) -> MachineSettings:
    """The search, a last comparison with the defaults, and what it wrote."""
    defaults = MachineSettings()
    with console.status("trying"):
        best, attempts = search(bench, choices, lambda attempt: console.print(_line(attempt)))
        final = bench.compare(best, defaults) if best != defaults else None
    kept = best if final and final.better else defaults
    rows = [of(attempt) | {"kept": "kept" if attempt.kept else ""} for attempt in attempts]
    Console().print(on_terminal(rows, "Each value against the best before it"))
    Console().print(_verdict(final))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(to_json(kept) + "\n")
    record = {"trials": attempts, "settings": kept, "final": final, "machine": machine()}
    write_json(out.with_suffix(".report.json"), record)
    Console().print(f"settings in {out}: python -m export --settings {out}")
    return kept


def _line(attempt: Attempt) -> str:
    verdict = "kept" if attempt.kept else "not kept"
    speed = attempt.throughput.text(2)
    return f"{attempt.knob} = {attempt.value}: {speed} times as fast, {verdict}"


def _verdict(final: Ratios | None) -> str:
    if final is None:
        return "Nothing beat the defaults: they stay."
    rate, p99 = final.throughput.text(2), final.p99.text(2)
    end = "they are kept" if final.better else "no gain, the defaults stay"
    return f"Together: {rate} times the defaults' pictures/s, {p99} times their p99; {end}."


def main(
    checkpoint_set: CheckpointSet = "demo",
    grounding_dino_edge: Edge = None,
    precision: PrecisionName = "fp32",
    runtime: RuntimeName = "onnxruntime",
    concurrency: Annotated[int, typer.Option(help="Callers of the closed loop.")] = 8,
    seconds: Annotated[float, typer.Option(help="Of a turn.")] = 5.0,
    rounds: Annotated[int, typer.Option(help="Turns of each side.")] = 3,
    work: Annotated[Path, typer.Option(help="For repositories.")] = Path("build/tune"),
    out: Annotated[Path, typer.Option(help="The settings.")] = Path("build/settings.json"),
) -> None:
    """Choose, print what each choice gained, and write the settings."""
    source = Source(
        checkpoint_set, edge=grounding_dino_edge, precision=precision, runtime=RUNTIMES[runtime]
    )
    try:
        with console.status("exporting") as status:
            exported = export(source, lambda name, what: status.update(f"{name}: {what}"))
        bench = Bench(exported, work, concurrency, seconds, rounds)
        tuned(bench, knobs(exported), out)
    except (ExportError, RuntimeError) as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
