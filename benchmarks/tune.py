"""`python -m benchmarks.tune`: how many instances, threads and pictures a batch suit this machine.

Walks from knob to knob and tries each value against the best so far: both are served at once and
take turns under the same closed loop of main_object. A value is kept only where it won every
turn and by more than NOISE, and its p99 grew by no more than LATENCY_GROWTH. What remains is
measured once more against the defaults, and written as settings that the export reads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from fovea_client import Client
from rich.console import Console
from rich.table import Table

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
from benchmarks.questions import questions
from benchmarks.results import write_json
from benchmarks.tables import on_terminal
from export.errors import ExportError
from export.machine import machine
from export.runtimes import RUNTIMES
from export.timing import in_turn
from fovea.machine_settings import MachineSettings
from fovea.specs import to_json

# A value counts as faster from this ratio on, where it also won every turn.
NOISE = 1.03
LATENCY_GROWTH = 1.10
FIRST_SEED, PICTURES = 920_000, 32
BIG = (GROUNDING_DINO, SAM_IMAGE_ENCODER)

console = Console(stderr=True)


@dataclass(frozen=True)
class Duel:
    """A closed loop: callers, seconds of a turn, turns of each side."""

    concurrency: int
    seconds: float
    rounds: int


@dataclass(frozen=True)
class Attempt:
    """A value against the best before it: ratios of throughput (above 1 is faster) and of p99."""

    knob: str
    value: str
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

    return (
        Knob(
            "largest batch of GroundingDINO and SAM's encoder",
            (1, 2, 4),
            lambda settings, value: with_batches(settings, BIG, value),
        ),
        Knob(
            "threads of each network", (1, os.cpu_count() or 1), place("threads", *PICTURE_NETWORKS)
        ),
        Knob("instances of each network", (2,), place("instances", *PICTURE_NETWORKS)),
        Knob(f"instances of {FIRST_STEP}", (1, 3), place("instances", FIRST_STEP)),
        Knob(
            "microseconds to wait for a batch",
            (2_000, 10_000),
            place("delay_us", *PICTURE_NETWORKS),
        ),
    )


class Bench:
    """Serves settings of one export, and puts the same load on two of them in turns."""

    def __init__(self, exported: Exported, work: Path, duel: Duel) -> None:
        self._exported, self._work, self._duel = exported, work, duel
        self._asked = questions(range(FIRST_SEED, FIRST_SEED + PICTURES))

    def compare(self, ours: MachineSettings, theirs: MachineSettings) -> tuple[Spread, Spread]:
        """Ratios of throughput and p99, `ours` over `theirs`, one for each round."""
        rates: list[float] = []
        tails: list[float] = []
        with self._served("ours", ours) as our, self._served("theirs", theirs) as their:
            clients = {"ours": our, "theirs": their}
            for index in range(self._duel.rounds):
                found = {side: self._turn(clients[side]) for side in in_turn([*clients], index)}
                rates.append(found["ours"][0] / found["theirs"][0])
                tails.append(found["ours"][1] / found["theirs"][1])
        return Spread.of(rates), Spread.of(tails)

    @contextmanager
    def _served(self, side: str, settings: MachineSettings) -> Iterator[Client]:
        """A client of a warm server with the settings."""
        with self._exported.served(settings, self._work / side) as (_, client):
            self._ask(client, seconds=0, at_least=2 * self._duel.concurrency)
            yield client

    def _turn(self, client: Client) -> tuple[float, float]:
        """Pictures a second, and p99 in milliseconds."""
        samples = self._ask(client, seconds=self._duel.seconds)
        return samples.throughput, percentiles(samples.latencies_s)["p99_ms"]

    def _ask(self, client: Client, *, seconds: float, at_least: int = 0) -> Samples:
        def ask(number: int) -> object:
            question = self._asked[number % len(self._asked)]
            return client.main_object(question.jpeg, question.labels)

        callers = self._duel.concurrency
        return answered(closed_loop(ask, callers, seconds=seconds, at_least=at_least))


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
            throughput, p99 = bench.compare(settings, best)
            kept = better(throughput, p99)
            best = settings if kept else best
            attempts.append(Attempt(knob.name, str(value), throughput, p99, kept))
            report(attempts[-1])
    return best, attempts


def better(throughput: Spread, p99: Spread) -> bool:
    """Did it win every turn, by more than the noise, without a longer tail?"""
    return throughput.least > 1 and throughput.median >= NOISE and p99.median <= LATENCY_GROWTH


def table_of(attempts: Sequence[Attempt]) -> Table:
    """The attempts for people."""
    rows = [
        {
            "knob": attempt.knob,
            "value": attempt.value,
            "pictures/s": attempt.throughput,
            "p99": attempt.p99,
            "": "kept" if attempt.kept else "",
        }
        for attempt in attempts
    ]
    return on_terminal(rows, "Each value against the best before it")


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
        bench = Bench(exported, work, Duel(concurrency, seconds, rounds))
        tuned(bench, knobs(exported), out)
    except (ExportError, RuntimeError) as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        sys.exit(1)


def tuned(bench: Bench, choices: Sequence[Knob], out: Path) -> MachineSettings:
    """The search, a last comparison with the defaults, and what it wrote."""
    with console.status("trying"):
        best, attempts = search(bench, choices, lambda attempt: console.print(_line(attempt)))
        final = bench.compare(best, MachineSettings()) if best != MachineSettings() else None
    kept = best if final and better(*final) else MachineSettings()
    Console().print(table_of(attempts))
    Console().print(_verdict(final, kept))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(to_json(kept) + "\n")
    record = {"trials": [asdict(attempt) for attempt in attempts], "settings": asdict(kept)}
    record |= {"final": [asdict(ratio) for ratio in final] if final else None}
    record |= {"machine": machine()}
    write_json(out.with_suffix(".report.json"), record)
    Console().print(f"settings in {out}: python -m export --settings {out}")
    return kept


def _line(attempt: Attempt) -> str:
    verdict = "kept" if attempt.kept else "not kept"
    return (
        f"{attempt.knob} = {attempt.value}: {attempt.throughput.text(2)} times as fast, {verdict}"
    )


def _verdict(final: tuple[Spread, Spread] | None, kept: MachineSettings) -> str:
    if final is None:
        return "Nothing beat the defaults: they stay."
    throughput, p99 = final
    figures = f"{throughput.text(2)} times the defaults' pictures/s, {p99.text(2)} times their p99"
    if kept == MachineSettings():
        return f"In the end the choices gave {figures}: no gain, the defaults stay."
    return f"Together they give {figures}."


if __name__ == "__main__":
    typer.run(main)
