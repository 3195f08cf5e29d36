"""`python -m benchmarks.capacity.measure`: what one machine needs for each step of a verb.

It measures an exported model repository on the real server of this machine, CPU or GPU: the
batch curve of each step, the time that a request alone spends between the steps and on the wire,
how much requests differ, and how much work slows down when it shares the processor.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fovea_server import EmbeddedServer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.capacity import fit
from benchmarks.capacity.curves import StepCaller, batch_sizes, measure_step
from benchmarks.capacity.repository import copy_with_delay, read_steps
from benchmarks.capacity.service_times import ServiceTimes, Step, write
from benchmarks.loads import closed_loop
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

    repetitions: of each batch size of each step. pictures: different ones. alone_requests: of a
    single caller. busy_s: seconds of BUSY_CALLERS.
    """

    repetitions: int = 12
    pictures: int = 256
    alone_requests: int = 150
    busy_s: float = 12.0

    def pool(self) -> Pool:
        """The pictures that are asked for."""
        return Pool(questions(range(FIRST_SEED, FIRST_SEED + self.pictures)))


def server_of(repository: Path) -> AbstractContextManager[EmbeddedServer]:
    """A real Triton on free loopback ports whose response cache is too small to help."""
    return demo_server(repository, cache_size_bytes=CACHE_BYTES)


def measure_steps(
    repository: Path, verb: Verb, asked: Sequence[Question], repetitions: int
) -> tuple[Step, ...]:
    """Every step of the verb with its batch curve."""
    steps = read_steps(repository, verb.name, gpu=gpu_name() is not None)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        waiting = copy_with_delay(repository, folder / "models", DELAY_US)
        server = stack.enter_context(server_of(waiting))
        caller = StepCaller(server.grpc_url)
        stack.callback(caller.close)
        largest = max(batch_sizes(step.max_batch)[-1] for step in steps)
        walks = [
            caller.walk(waiting, verb.name, next(verb.steps(question)))
            for question in asked[: 2 * largest]
        ]
        progress = stack.enter_context(Progress(console=Console(stderr=True)))
        return tuple(
            measure_step(
                caller,
                step,
                [walk[step.model] for walk in walks],
                server_pid=server.pid,
                repetitions=repetitions,
                progress=progress,
            )
            for step in steps
        )


@dataclass(frozen=True)
class Extremes:
    """The latencies of a single caller, and the answers per second of BUSY_CALLERS."""

    alone_s: tuple[float, ...]
    busy_rate: float


def measure_extremes(target: Target, effort: Effort) -> Extremes:
    """One caller at a time, then so many that there is always work; labels are cached before."""
    closed_loop(target.call, 4, seconds=0, at_least=effort.pictures // 4)
    alone = closed_loop(target.call, 1, seconds=0, at_least=effort.alone_requests)
    busy = closed_loop(target.call, BUSY_CALLERS, seconds=effort.busy_s)
    if alone.failures or busy.failures:
        raise RuntimeError(f"requests failed: {dict(alone.failures + busy.failures)}")
    return Extremes(tuple(alone.latencies_s.tolist()), busy.throughput)


def assemble(
    steps: tuple[Step, ...], verb: str, models: str, measured: Sequence[Extremes]
) -> ServiceTimes:
    """Service times of this machine from what was measured on it, once or several times."""
    cores = os.cpu_count() or 1
    kind = gpu_name() or f"{cores} cores of {platform.machine()}"
    latencies = np.concatenate([extremes.alone_s for extremes in measured])
    draft = ServiceTimes(
        verb=verb,
        kind=kind,
        models=models,
        cores=cores,
        steps=steps,
        spread=fit.spread(latencies),
        origin="measured by benchmarks.capacity.measure",
        machine=machine(),
    )
    return fit.fit(
        draft,
        alone_s=float(np.mean(latencies)),
        busy_rate=float(np.mean([extremes.busy_rate for extremes in measured])),
        busy_callers=BUSY_CALLERS,
    )


def table_of(times: ServiceTimes) -> Table:
    """The curves for people."""
    sizes = sorted({batch for step in times.steps for batch in step.curve.batches})
    title = f"{times.verb}, {times.models}, {times.kind}: ms by batch size"
    table = Table("step", "place", "threads", *map(str, sizes), title=title)
    for step in times.steps:
        measured = dict(zip(step.curve.batches, step.curve.seconds, strict=True))
        cells = [f"{1000 * measured[b]:.2f}" if b in measured else "" for b in sizes]
        table.add_row(step.model, step.place, f"{step.threads:.2f}", *cells)
    table.caption = f"contention {times.contention:.2f}, alone {1000 * times.alone_s():.1f} ms"
    return table


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verb", choices=MEASURABLE, default="main_object")
    parser.add_argument("--repository", type=Path, help="an exported one; by default the demo's")
    parser.add_argument("--models", help="what it holds, for people")
    parser.add_argument("--repetitions", type=int, default=Effort.repetitions)
    parser.add_argument("--json", type=Path, default=Path("build/service-times.json"))
    args = parser.parse_args()
    verb = next(verb for verb in VERBS if verb.name == args.verb)
    repository = args.repository or export_demo(EXPORT_FOLDER)
    effort = Effort(repetitions=args.repetitions)
    pool = effort.pool()
    steps = measure_steps(repository, verb, pool.questions, effort.repetitions)
    with server_of(repository) as server, Wire(server.grpc_url) as wire:
        extremes = measure_extremes(ensemble_target(wire, verb, pool), effort)
    models = args.models or ("demo checkpoints" if args.repository is None else str(repository))
    times = assemble(steps, verb.name, models, [extremes])
    write(times, args.json)
    Console().print(table_of(times))


if __name__ == "__main__":
    main()
