"""`python -m benchmarks.capacity.measure`: what one machine needs for each step of a verb.

It measures an exported model repository on the real server of this machine, CPU or GPU: the
batch curve of each step, the time that a request alone spends between the steps and on the wire,
how much requests differ, and how much work slows down when it shares the processor.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fovea_client.statistics import ModelStatistics, difference, read_statistics
from fovea_server import EmbeddedServer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.capacity import fit
from benchmarks.capacity.curves import StepCaller, StepMeter, runs_apart
from benchmarks.capacity.fit import OneCaller
from benchmarks.capacity.processor_use import ProcessorUse
from benchmarks.capacity.repository import copy_with_delay, read_steps
from benchmarks.capacity.service_times import CPU, ServiceTimes, Step, write
from benchmarks.loads import Samples, closed_loop
from benchmarks.machine import gpu_name, machine
from benchmarks.questions import VERBS, Question, Verb, questions
from benchmarks.targets import Pool, Target, Wire, ensemble_target
from demo.served import EXPORT_FOLDER, demo_server, export_demo

# Long enough for a full batch to arrive at the batcher, short enough not to fill the minutes.
DELAY_US = 50_000
# Room for a few of the pictures that are asked for in turn: none is answered from it.
CACHE_BYTES = 2 * 2**20
FIRST_SEED = 920_000
BUSY_CALLERS = 24
# The verbs whose only inputs are a picture and words.
MEASURABLE = ("main_object", "detect", "detect_and_segment", "embed_image")


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    rounds: of everything, all after all, so that a slow minute of the machine falls on all alike.
    pictures: different ones. alone_requests: of a single caller, each round. busy_s: seconds of
    BUSY_CALLERS, each round.
    """

    rounds: int = 10
    pictures: int = 256
    alone_requests: int = 25
    busy_s: float = 4.0

    def pool(self) -> Pool:
        """The pictures that are asked for."""
        return Pool(questions(range(FIRST_SEED, FIRST_SEED + self.pictures)))


def server_of(repository: Path) -> AbstractContextManager[EmbeddedServer]:
    """A real Triton on free loopback ports whose response cache is too small to help."""
    return demo_server(repository, cache_size_bytes=CACHE_BYTES)


@dataclass(frozen=True)
class Measured:
    """What one machine was seen to do: its steps with their curves, a single caller, and in each
    round the answers per second of BUSY_CALLERS.

    alone_s: latencies of the single caller. alone: its means.
    """

    steps: tuple[Step, ...]
    alone_s: tuple[float, ...]
    alone: OneCaller
    busy_rates: tuple[float, ...]


class CallerMeter:
    """Measures a single caller, some requests at a time."""

    def __init__(self, target: Target, server: EmbeddedServer) -> None:
        self._target, self._server = target, server
        self._cpu_s = self._around_s = 0.0
        self._spent: dict[str, ModelStatistics] = {}
        self.latencies_s: list[float] = []

    def round(self, requests: int) -> None:
        """So many, one after the other."""
        url, use = self._server.grpc_url, ProcessorUse(self._server.pid)
        before = read_statistics(url)
        samples = answered(closed_loop(self._target.call, 1, seconds=0, at_least=requests))
        self._cpu_s += use.ours_s()
        self._around_s += use.around_s()
        for name, counters in difference(read_statistics(url), before).items():
            self._spent[name] = counters.plus(self._spent.get(name, ModelStatistics()))
        self.latencies_s += samples.latencies_s.tolist()

    def measured(self, steps: Sequence[Step]) -> OneCaller:
        """Means of all rounds."""
        spent = {step.model: self._spent[step.model] for step in steps}
        requests = len(self.latencies_s)
        # Where a step runs within the server, its processor time cannot be told from the rest.
        apart = all(runs_apart(self._server.pid, s.model) for s in steps if s.place == CPU)
        return OneCaller(
            latency_s=float(np.mean(self.latencies_s)),
            execution_s={name: s.busy_s / s.executions for name, s in spent.items()},
            around_s=self._around_s / requests if apart else 0.0,
            cpu_s=self._cpu_s / requests,
        )


def measure_machine(
    repository: Path,
    verb: Verb,
    asked: Sequence[Question],
    target: Target,
    server: EmbeddedServer,
    effort: Effort,
) -> Measured:
    """Every step at every batch size, one caller and many, in turns.

    target: the verb on the server that is measured; asked: what it is asked for. The steps run on
    a second server of the same models, whose batchers wait until a batch is full.
    """
    closed_loop(target.call, 4, seconds=0, at_least=effort.pictures // 4)  # labels are cached then
    caller, busy_rates = CallerMeter(target, server), []
    with (
        _meters(repository, verb, asked) as meters,
        Progress(console=Console(stderr=True)) as progress,
    ):
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
    repository: Path, verb: Verb, asked: Sequence[Question]
) -> Iterator[tuple[StepMeter, ...]]:
    """A meter for each step, on a server of their own."""
    steps = read_steps(repository, verb.name, gpu=gpu_name() is not None)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        waiting = copy_with_delay(repository, Path(folder) / "models", DELAY_US)
        server = stack.enter_context(server_of(waiting))
        caller = StepCaller(server.grpc_url)
        stack.callback(caller.close)
        largest = max(step.max_batch for step in steps)
        walks = [
            caller.walk(waiting, verb.name, next(verb.steps(question)))
            for question in asked[: 2 * largest]
        ]
        yield tuple(
            StepMeter(caller, step, [walk[step.model] for walk in walks], server_pid=server.pid)
            for step in steps
        )


def answered(samples: Samples) -> Samples:
    """The same; RuntimeError when a request was not answered."""
    if samples.failures:
        raise RuntimeError(f"requests failed: {dict(samples.failures)}")
    return samples


def assemble(measured: Measured, verb: str, models: str) -> ServiceTimes:
    """Service times of this machine from what was measured on it."""
    known = machine()
    latencies = np.array(measured.alone_s)
    draft = ServiceTimes(
        verb=verb,
        kind=known["gpu"] or "{cores} cores of {processor}".format(**known),
        models=models,
        cores=known["cores"],
        steps=measured.steps,
        spread=fit.spread(latencies),
        origin="measured by benchmarks.capacity.measure",
        machine=known,
    )
    return fit.to_one_caller(draft, measured.alone)


def table_of(times: ServiceTimes) -> Table:
    """The curves for people."""
    sizes = sorted({batch for step in times.steps for batch in step.curve.batches})
    title = f"{times.verb}, {times.models}, {times.kind}: ms by batch size"
    table = Table("step", "place", *map(str, sizes), title=title)
    for step in times.steps:
        measured = dict(zip(step.curve.batches, step.curve.seconds, strict=True))
        cells = [
            f"{1000 * measured[size]:.2f} ({step.curve.threads_at(size):.1f})"
            if size in measured else ""
            for size in sizes
        ]  # fmt: skip
        table.add_row(step.model, step.place, *cells)
    table.caption = (
        f"in brackets: threads; contention {times.contention:.2f}, "
        f"alone {1000 * times.alone_s():.1f} ms"
    )
    return table


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verb", choices=MEASURABLE, default="main_object")
    parser.add_argument("--repository", type=Path, help="an exported one; by default the demo's")
    parser.add_argument("--models", help="what it holds, for people")
    parser.add_argument("--rounds", type=int, default=Effort.rounds)
    parser.add_argument("--json", type=Path, default=Path("build/service-times.json"))
    args = parser.parse_args()
    verb = next(verb for verb in VERBS if verb.name == args.verb)
    repository = args.repository or export_demo(EXPORT_FOLDER)
    effort = Effort(rounds=args.rounds)
    pool = effort.pool()
    with server_of(repository) as server, Wire(server.grpc_url) as wire:
        target = ensemble_target(wire, verb, pool)
        measured = measure_machine(repository, verb, pool.questions, target, server, effort)
    models = args.models or ("demo checkpoints" if args.repository is None else str(repository))
    times = assemble(measured, verb.name, models)
    write(times, args.json)
    Console().print(table_of(times))


if __name__ == "__main__":
    main()
