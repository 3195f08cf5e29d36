"""Batch curves of the real server: each step alone, in batches that Triton's own batcher forms.

The server is one whose batchers wait. A verb's steps are called one after the other, as the
ensemble would; then each step gets b requests at once, which become one batch of b. Times are
Triton's, from the start of an execution to its end; processor time is the operating system's, of
the processes of the model's instances.
"""

from __future__ import annotations

import dataclasses
import queue
import re
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import tritonclient.grpc as triton
from fovea_client.requests import Request
from fovea_client.statistics import BatchStatistics, ModelStatistics, read_statistics
from numpy.typing import NDArray
from tritonclient.utils import (
    deserialize_bytes_tensor,
    np_to_triton_dtype,
    triton_to_np_dtype,
)

from benchmarks.capacity.repository import read_config
from benchmarks.capacity.service_times import CPU, BatchCurve, Step

Arrays = dict[str, NDArray[Any]]
Batches = Mapping[int, BatchStatistics]
# Bursts of a batch size in a round, and rounds below which a size is left out.
_BURSTS, _FEW = 3, 3
# How long Triton may take to count what it has answered.
_COUNTED_S = 1.0


class StepCaller:
    """Calls single models of a server, many at once."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = triton.InferenceServerClient(url)

    def walk(self, repository: Any, verb: str, request: Request) -> dict[str, Arrays]:
        """What each step of the verb gets for a request, by the step's model."""
        message = request.message(None)
        tensors = {
            tensor.name: _decode(tensor, content)
            for tensor, content in zip(message.inputs, message.raw_input_contents, strict=True)
        }
        given = {}
        for step in read_config(repository, verb).ensemble_scheduling.step:
            arrays = {own: tensors[name] for own, name in step.input_map.items() if name in tensors}
            answer = self._client.infer(step.model_name, _inputs(arrays))
            tensors |= {name: answer.as_numpy(own) for own, name in step.output_map.items()}
            given[step.model_name] = arrays
        return given

    def at_once(self, model: str, requests: Sequence[Arrays]) -> None:
        """All requests together; returns when the last is answered, raises what any raised."""
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for arrays in requests:
            self._client.async_infer(
                model, _inputs(arrays), lambda result, error: answers.put(error)
            )
        for _ in requests:
            error = answers.get()
            if error is not None:
                raise error

    def statistics(self, model: str) -> ModelStatistics:
        """Triton's counters of the model."""
        return read_statistics(self._url)[model]

    def close(self) -> None:
        self._client.close()


@dataclass(frozen=True)
class Burst:
    """A batch of so many requests, its seconds and those of the step's processes: means of some."""

    size: int
    seconds: float
    cpu_s: float


class StepMeter:
    """Measures one step, some bursts of each batch size at a time."""

    def __init__(
        self, caller: StepCaller, step: Step, given: Sequence[Arrays], *, server_pid: int
    ) -> None:
        """`given`: inputs of single requests; batches take them in turn."""
        self._caller, self._step, self._given = caller, step, given
        self._processes = instances(server_pid, step.model)
        self._taken = 0
        self._bursts: list[Burst] = []

    def round(self) -> None:
        """_BURSTS of each size; those of which one did not become one batch are not counted."""
        for size in batch_sizes(self._step.max_batch):
            cpu_before = processor_s(self._processes)
            ran = [self._burst(size) for _ in range(_BURSTS)]
            # The system counts processor time in hundredths: of one burst it would say little.
            cpu_s = (processor_s(self._processes) - cpu_before) / _BURSTS
            if all(set(batches) == {size} and batches[size].executions == 1 for batches in ran):
                seconds = statistics.mean(batches[size].total_s for batches in ran)
                self._bursts.append(Burst(size, seconds, cpu_s))

    def _burst(self, size: int) -> Batches:
        """What Triton counted of so many requests at once."""
        model = self._step.model
        numbers = range(self._taken, self._taken + size)
        self._taken += size
        before = self._caller.statistics(model)
        self._caller.at_once(model, [self._given[number % len(self._given)] for number in numbers])
        deadline = time.monotonic() + _COUNTED_S
        spent = self._caller.statistics(model).since(before)
        while spent.inferences < size and time.monotonic() < deadline:
            time.sleep(_COUNTED_S / 100)  # Triton answers first and counts then
            spent = self._caller.statistics(model).since(before)
        return {rows: batch for rows, batch in spent.batches.items() if batch.executions}

    def measured(self) -> Step:
        """The step with what was measured so far."""
        curve = to_curve(self._bursts)
        if self._step.place != CPU:
            curve = dataclasses.replace(curve, threads=())
        return dataclasses.replace(self._step, curve=curve)


def to_curve(bursts: Sequence[Burst]) -> BatchCurve:
    """Median seconds and mean threads by batch size, of those sizes that ran often enough.

    Threads are processor seconds by seconds.
    """
    sizes = {burst.size: [b for b in bursts if b.size == burst.size] for burst in bursts}
    often = {size: found for size, found in sorted(sizes.items()) if len(found) >= _FEW}
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
    sizes = [2**power for power in range(largest.bit_length()) if 2**power < largest]
    return [*sizes, largest]


def instances(server_pid: int, model: str) -> list[psutil.Process]:
    """The processes of a model's instances; the server's where the backend runs within it."""
    return _own_processes(server_pid, model) or [psutil.Process(server_pid)]


def runs_apart(server_pid: int, model: str) -> bool:
    """Whether the model's instances are processes of their own."""
    return bool(_own_processes(server_pid, model))


def _own_processes(server_pid: int, model: str) -> list[psutil.Process]:
    name = re.compile(rf"{re.escape(model)}_\d+_\d+")
    children = psutil.Process(server_pid).children(recursive=True)
    return [child for child in children if any(name.fullmatch(arg) for arg in child.cmdline())]


def processor_s(processes: Sequence[psutil.Process]) -> float:
    """Processor seconds that these have used."""
    spent = [process.cpu_times() for process in processes]
    return sum(times.user + times.system for times in spent)


def _inputs(arrays: Arrays) -> list[triton.InferInput]:
    made = []
    for name, array in arrays.items():
        tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        made.append(tensor.set_data_from_numpy(array))
    return made


def _decode(tensor: Any, content: bytes) -> NDArray[Any]:
    """An input of a message as the array that it was made from."""
    if tensor.datatype == "BYTES":
        data = deserialize_bytes_tensor(content)
        return data.reshape(tuple(tensor.shape))
    dtype = triton_to_np_dtype(tensor.datatype)
    return np.frombuffer(content, dtype).reshape(tuple(tensor.shape))
