"""`python -m benchmarks.capacity.measure`: what one machine needs for each step of a verb.

It measures an exported model repository on the real server of this machine, CPU or GPU: the
batch curve of each step, the time that a request alone spends between the steps and on the wire,
how much requests differ, and how much work slows down when it shares the processor. The answers
per second of many callers are not used: they are printed beside those of the simulation.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer
from fovea_client.statistics import ModelStatistics, difference, read_statistics
from fovea_server import EmbeddedServer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.capacity import fit
from benchmarks.capacity.curves import StepMeter, own_processes, processor_s, walk
from benchmarks.capacity.fit import OneCaller
from benchmarks.capacity.repository import copy_with_delay, read_steps
from benchmarks.capacity.service_times import CPU, ServiceTimes, Step, write
from benchmarks.capacity.simulation import closed_loop as simulated_loop
from benchmarks.figures import Spread
from benchmarks.loads import answered, closed_loop
from benchmarks.options import Json
from benchmarks.questions import VERBS, Verb, questions
from benchmarks.tables import on_terminal
from benchmarks.targets import Pool, Target, ensemble_target, open_wire
from demo.served import demo_server, export_demo
from export.machine import gpu_name, machine

# Long enough for a full batch to arrive at the batcher, short enough not to fill the minutes.
DELAY_US = 50_000
FIRST_SEED = 920_000
BUSY_CALLERS = 24
# Verbs whose only inputs are a picture and words, and which cache no answers.
MEASURABLE = ("main_object", "detect", "detect_and_segment", "embed_image")


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    rounds: each measures everything, so that a slow minute of the machine affects all alike.
    bursts: of each batch size of each step, each round. pictures: different ones. alone_requests:
    of a single caller, each round. busy_s: seconds of BUSY_CALLERS, each round.
    """

    rounds: int = 10
    bursts: int = 3
    pictures: int = 256
    alone_requests: int = 25
    busy_s: float = 4.0


@dataclass(frozen=True)
class Measured:
    """What was measured on one machine.

    alone_s: latencies of a single caller; alone: its means. busy_rates: answers per second of
    BUSY_CALLERS, by round.
    """

    steps: tuple[Step, ...]
    alone_s: tuple[float, ...]
    alone: OneCaller
    busy_rates: tuple[float, ...]

    def to_times(self, verb: str, models: str) -> ServiceTimes:
        """Service times of this machine; models: what it served, for people."""
        known = machine()
        draft = ServiceTimes(
            verb=verb,
            kind=known["gpu"] or "{cores} cores of {processor}".format(**known),
            models=models,
            cores=known["cores"],
            steps=self.steps,
            spread=fit.spread(np.array(self.alone_s)),
            origin="measured by benchmarks.capacity.measure",
            machine=known,
        )
        return fit.to_one_caller(draft, self.alone)


class CallerMeter:
    """Measures a single caller, some requests at a time."""

    def __init__(self, target: Target, server: EmbeddedServer) -> None:
        self._target, self._server = target, server
        self._around = [psutil.Process(), psutil.Process(server.pid)]
        self._around_s = 0.0
        self._spent: dict[str, ModelStatistics] = {}
        self.latencies_s: list[float] = []

    def round(self, requests: int) -> None:
        """Send so many requests one after the other."""
        url = self._server.grpc_url
        before, around_before = read_statistics(url), processor_s(self._around)
        samples = answered(closed_loop(self._target.call, 1, seconds=0, at_least=requests))
        self._around_s += processor_s(self._around) - around_before
        for name, counters in difference(read_statistics(url), before).items():
            self._spent[name] = counters.plus(self._spent.get(name, ModelStatistics()))
        self.latencies_s += samples.latencies_s.tolist()

    def measured(self, steps: Sequence[Step]) -> OneCaller:
        """Means of all rounds."""
        spent = {step.model: self._spent[step.model] for step in steps}
        # Where a step runs within the server, its processor time cannot be told from the rest.
        apart = all(own_processes(self._server.pid, s.model) for s in steps if s.place == CPU)
        return OneCaller(
            latency_s=float(np.mean(self.latencies_s)),
            execution_s={name: s.busy_s / s.executions for name, s in spent.items()},
            around_s=self._around_s / len(self.latencies_s) if apart else 0.0,
        )


def measure(repository: Path, verb: Verb, effort: Effort) -> Measured:
    """Every step at every batch size, one caller and many, in turns.

    The steps run on a second server of the same models, whose batchers wait until a batch is full.
    """
    pool = Pool(questions(range(FIRST_SEED, FIRST_SEED + effort.pictures)))
    with (
        demo_server(repository) as server,
        open_wire(server.grpc_url) as infer,
        _meters(repository, verb, pool, effort.bursts) as meters,
        Progress(console=Console(stderr=True)) as progress,
    ):
        target = ensemble_target(infer, verb, pool)
        # Labels are cached after this.
        closed_loop(target.call, 4, seconds=0, at_least=effort.pictures // 4)
        caller, busy_rates = CallerMeter(target, server), []
        for _ in progress.track(range(effort.rounds), description="service times"):
            for meter in meters:
                meter.round()
            caller.round(effort.alone_requests)
            busy = closed_loop(target.call, BUSY_CALLERS, seconds=effort.busy_s)
            busy_rates.append(answered(busy).throughput)
        steps = tuple(meter.measured() for meter in meters)
        alone = caller.measured(steps)
    return Measured(steps, tuple(caller.latencies_s), alone, tuple(busy_rates))


@contextmanager
def _meters(
    repository: Path, verb: Verb, pool: Pool, bursts: int
) -> Iterator[tuple[StepMeter, ...]]:
    """A meter for each step, on a server of their own."""
    steps = read_steps(repository, verb.name, gpu=gpu_name() is not None)
    asked = pool.questions[: 2 * max(step.max_batch for step in steps)]
    with tempfile.TemporaryDirectory() as folder:
        waiting = copy_with_delay(repository, Path(folder) / "models", DELAY_US)
        with demo_server(waiting) as server, open_wire(server.grpc_url) as infer:
            walks = [walk(infer, waiting, verb.request(question)) for question in asked]
            yield tuple(
                StepMeter(
                    infer,
                    server.grpc_url,
                    step,
                    [messages[step.model] for messages in walks],
                    server_pid=server.pid,
                    bursts=bursts,
                )
                for step in steps
            )


def table_of(times: ServiceTimes) -> Table:
    """The curves as a table."""
    sizes = sorted({batch for step in times.steps for batch in step.curve.batches})
    rows = [
        {"step": step.model, "place": step.place}
        | {
            str(size): f"{1000 * step.curve.at(size):.2f} ({step.curve.threads_at(size):.1f})"
            if size in step.curve.batches
            else ""
            for size in sizes
        }
        for step in times.steps
    ]
    title = f"{times.verb}, {times.models}, {times.kind}: ms by batch size"
    alone = f"contention {times.contention:.2f}, alone {1000 * times.alone_s():.1f} ms"
    return on_terminal(rows, title, f"in brackets: threads; {alone}")


def main(
    verb: Annotated[str, typer.Option(help=f"One of {', '.join(MEASURABLE)}.")] = MEASURABLE[0],
    repository: Annotated[Path | None, typer.Option(help="Exported; default: the demo's.")] = None,
    models: Annotated[str | None, typer.Option(help="What it holds, for people.")] = None,
    rounds: int = Effort.rounds,
    out: Json = Path("build/service-times.json"),
) -> None:
    """Measure, print and write."""
    if verb not in MEASURABLE:
        raise typer.BadParameter(f"expected one of {', '.join(MEASURABLE)}, got {verb!r}")
    chosen = next(known for known in VERBS if known.name == verb)
    measured = measure(repository or export_demo(), chosen, Effort(rounds=rounds))
    known_models = "demo checkpoints" if repository is None else str(repository)
    times = measured.to_times(verb, models or known_models)
    write(times, out)
    Console().print(table_of(times))
    simulated = simulated_loop(times, concurrency=BUSY_CALLERS, count=3000).rate
    rates = Spread.of(measured.busy_rates).text()
    print(f"{BUSY_CALLERS} callers got {rates} answers a second, and {simulated:.1f} simulated")


if __name__ == "__main__":
    typer.run(main)
