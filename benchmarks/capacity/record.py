"""The real server under Poisson loads: what was measured, to be compared with a simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fovea_client.statistics import difference, read_statistics
from fovea_server import EmbeddedServer
from rich.console import Console
from rich.progress import Progress

from benchmarks.capacity import simulation
from benchmarks.capacity.fit import AROUND
from benchmarks.capacity.measure import (
    Effort,
    Measured,
    answered,
    assemble,
    measure_machine,
    server_of,
)
from benchmarks.capacity.processor_use import ProcessorUse
from benchmarks.capacity.service_times import CPU, ServiceTimes
from benchmarks.loads import open_loop, poisson_arrivals
from benchmarks.questions import VERBS
from benchmarks.targets import Target, Wire, ensemble_target
from demo.served import export_demo

VERB = "main_object"
UTILISATIONS = (0.3, 0.5, 0.7, 0.85)
REQUESTS = 350
REPETITIONS = 5


@dataclass(frozen=True)
class Loads:
    """What the real server is loaded with; utilisations are shares of the simulated capacity."""

    utilisations: Sequence[float] = UTILISATIONS
    repetitions: int = REPETITIONS
    requests: int = REQUESTS

    def turns(self) -> list[tuple[float, int]]:
        """Utilisation and seed of each load."""
        repetitions = range(self.repetitions)
        return [(u, int(1000 * u) + r) for r in repetitions for u in self.utilisations]


@dataclass(frozen=True)
class Run:
    """The real server under one load.

    queue_s: waiting in all queues, mean of a request. cpu_s: processor seconds of the server and
    the caller. executions: sizes of batches and how many had them, by step. foreign_cores: that
    others used meanwhile.
    """

    utilisation: float
    rate: float
    arrivals_s: tuple[float, ...]
    latencies_s: tuple[float, ...]
    queue_s: float
    cpu_s: float
    executions: Mapping[str, Sequence[tuple[int, int]]]
    foreign_cores: float = 0.0

    def expected_cpu_s(self, times: ServiceTimes) -> float:
        """Processor seconds of such executions when the times were measured."""
        around = [s.work_s(1) for s in times.steps if s.model == AROUND]
        return len(self.arrivals_s) * sum(around) + sum(
            count * step.work_s(size)
            for step in times.steps
            if step.place == CPU
            for size, count in self.executions.get(step.model, ())
        )


@dataclass(frozen=True)
class Record:
    """All that was measured, so that it can be compared again: `--record`."""

    measured: Measured
    runs: tuple[Run, ...]

    @property
    def times(self) -> ServiceTimes:
        return assemble(self.measured, VERB, "demo checkpoints")

    def slowdown(self, run: Run, times: ServiceTimes) -> float:
        """How much slower the machine was under a load than while its times were measured."""
        alone_s = sum(step.work_s(1) for step in times.steps if step.place == CPU)
        share = self.measured.alone.cpu_s / alone_s  # what a single caller's is of the expected
        return run.cpu_s / run.expected_cpu_s(times) / share


def measure(loads: Loads, effort: Effort) -> Record:
    """The machine's times, then every load, repetitions in turns."""
    verb = next(verb for verb in VERBS if verb.name == VERB)
    repository = export_demo()
    pool = effort.pool()
    with server_of(repository) as server, Wire(server.grpc_url) as wire:
        target = ensemble_target(wire, verb, pool)
        measured = measure_machine(repository, verb, pool.questions, target, server, effort)
        most = simulation.capacity(Record(measured, ()).times)
        runs = []
        with Progress(console=Console(stderr=True)) as progress:
            for utilisation, seed in progress.track(loads.turns(), description="loads"):
                rate = utilisation * most
                runs.append(measure_run(server, target, utilisation, rate, loads.requests, seed))
    return Record(measured, tuple(runs))


def measure_run(
    server: EmbeddedServer,
    target: Target,
    utilisation: float,
    rate: float,
    requests: int,
    seed: int,
) -> Run:
    """One Poisson load; RuntimeError when a request was not answered."""
    arrivals = poisson_arrivals(rate, requests / rate, seed)
    before, use = read_statistics(server.grpc_url), ProcessorUse(server.pid)
    samples = answered(open_loop(target.call, arrivals))
    cpu_s, foreign_cores = use.ours_s(), use.foreign_cores()
    spent = difference(read_statistics(server.grpc_url), before)
    return Run(
        utilisation=utilisation,
        rate=rate,
        arrivals_s=tuple(arrivals.tolist()),
        latencies_s=tuple(samples.latencies_s.tolist()),
        queue_s=sum(s.queue_s for name, s in spent.items() if name != VERB) / len(arrivals),
        cpu_s=cpu_s,
        executions={
            name: [
                (size, batch.executions) for size, batch in s.batches.items() if batch.executions
            ]
            for name, s in spent.items()
            if name != VERB and s.executions
        },
        foreign_cores=foreign_cores,
    )
