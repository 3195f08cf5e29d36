"""Batch curves of the real server: each step alone, in batches that Triton's own batcher forms.

The server is one whose batchers wait. A verb's steps are called one after the other, as the
ensemble would; then each step gets b requests at once, which become one batch of b. Times are
Triton's, from the start of an execution to its end; processor time is the operating system's, of
the processes of the model's instances.
"""

from __future__ import annotations

import re
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from fovea_client.requests import Request
from fovea_client.statistics import BatchStatistics, ModelStatistics, read_statistics
from tritonclient.grpc import service_pb2

from benchmarks.capacity.repository import read_config
from benchmarks.capacity.service_times import CPU, BatchCurve, Step
from benchmarks.figures import powers_of_two
from benchmarks.targets import Infer

# Rounds below which a batch size is left out.
_FEW = 3
# How long Triton may take to count what it has answered.
_COUNTED_S = 1.0


def walk(infer: Infer, repository: Path, request: Request) -> dict[str, Any]:
    """The message that each step of a verb gets for a request, by the step's model."""
    asked = request.message(None)
    tensors = dict(_named(asked.inputs, asked.raw_input_contents))
    messages = {}
    for step in read_config(repository, request.model).ensemble_scheduling.step:
        message = service_pb2.ModelInferRequest(model_name=step.model_name)
        for own, name in step.input_map.items():
            if name in tensors:
                tensor, content = tensors[name]
                message.inputs.add(name=own, datatype=tensor.datatype, shape=tensor.shape)
                message.raw_input_contents.append(content)
        answer = infer(message)
        given = dict(_named(answer.outputs, answer.raw_output_contents))
        tensors |= {name: given[own] for own, name in step.output_map.items()}
        messages[step.model_name] = message
    return messages


def _named(tensors: Any, contents: Any) -> Any:
    return ((t.name, (t, content)) for t, content in zip(tensors, contents, strict=True))


def at_once(infer: Infer, messages: Sequence[Any]) -> None:
    """Send all requests at once and wait for the last answer; raises what any of them raised."""
    with ThreadPoolExecutor(len(messages)) as pool:
        for _ in pool.map(infer, messages):
            pass


@dataclass(frozen=True)
class Burst:
    """Seconds of a batch, and processor seconds of the step's processes: means of some batches."""

    seconds: float
    cpu_s: float


class StepMeter:
    """Measures one step of the server at `url`, some bursts of each batch size at a time.

    given: messages of single requests; batches take them in turn. bursts: how many of each size a
    round has.
    """

    def __init__(
        self,
        infer: Infer,
        url: str,
        step: Step,
        given: Sequence[Any],
        *,
        server_pid: int,
        bursts: int,
    ) -> None:
        self._infer, self._url, self._step, self._given = infer, url, step, given
        self._processes = own_processes(server_pid, step.model) or [psutil.Process(server_pid)]
        self._repeats, self._taken = bursts, 0
        self._bursts: dict[int, list[Burst]] = defaultdict(list)

    def round(self) -> None:
        """Some bursts of each size; if one did not become one batch, none of that size counts."""
        for size in batch_sizes(self._step.max_batch):
            cpu_before = processor_s(self._processes)
            ran = [self._burst(size) for _ in range(self._repeats)]
            # The system counts processor time in hundredths of a second: too coarse for one burst.
            cpu_s = (processor_s(self._processes) - cpu_before) / self._repeats
            if all(set(batches) == {size} and batches[size].executions == 1 for batches in ran):
                seconds = statistics.mean(batches[size].total_s for batches in ran)
                self._bursts[size].append(Burst(seconds, cpu_s))

    def _burst(self, size: int) -> dict[int, BatchStatistics]:
        """What Triton counted of so many requests at once."""
        numbers = range(self._taken, self._taken + size)
        self._taken += size
        before = self._counted()
        at_once(self._infer, [self._given[number % len(self._given)] for number in numbers])
        deadline = time.monotonic() + _COUNTED_S
        while (spent := self._counted().since(before)).inferences < size:
            if time.monotonic() > deadline:
                break
            time.sleep(_COUNTED_S / 100)  # Triton answers first and counts then
        return {rows: batch for rows, batch in spent.batches.items() if batch.executions}

    def _counted(self) -> ModelStatistics:
        return read_statistics(self._url)[self._step.model]

    def measured(self) -> Step:
        """The step with what was measured so far."""
        curve = to_curve(self._bursts)
        if self._step.place != CPU:
            curve = replace(curve, threads=())
        return replace(self._step, curve=curve)


def to_curve(bursts: Mapping[int, Sequence[Burst]]) -> BatchCurve:
    """Median seconds and mean threads by batch size, of those sizes that ran often enough.

    Threads are processor seconds over seconds.
    """
    often = {size: found for size, found in sorted(bursts.items()) if len(found) >= _FEW}
    return BatchCurve(
        tuple(often),
        tuple(statistics.median(burst.seconds for burst in found) for found in often.values()),
        tuple(_threads(found) for found in often.values()),
    )


def _threads(bursts: Sequence[Burst]) -> float:
    busy_s, seconds = sum(b.cpu_s for b in bursts), sum(b.seconds for b in bursts)
    return float(np.clip(busy_s / seconds, 0.1, psutil.cpu_count() or 1))


def batch_sizes(largest: int) -> list[int]:
    """1, 2, 4 ... and the largest."""
    return sorted({*powers_of_two(largest), largest})


def own_processes(server_pid: int, model: str) -> list[psutil.Process]:
    """The processes of a model's instances; none where the backend runs within the server."""
    name = re.compile(rf"{re.escape(model)}_\d+_\d+")
    children = psutil.Process(server_pid).children(recursive=True)
    return [child for child in children if any(name.fullmatch(arg) for arg in child.cmdline())]


def processor_s(processes: Sequence[psutil.Process]) -> float:
    """Processor seconds that these have used."""
    spent = [process.cpu_times() for process in processes]
    return sum(times.user + times.system for times in spent)
