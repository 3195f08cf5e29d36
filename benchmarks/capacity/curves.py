"""Batch curves of the real server: each step alone, in batches that Triton's own batcher forms.

The server is one whose batchers wait. A verb's steps are called one after the other, as the
ensemble would; then each step gets b requests at once, which become one batch of b. Times are
Triton's, per batch size, from the start of an execution to its end; processor time is the
operating system's, of the processes of the model's instances.
"""

from __future__ import annotations

import dataclasses
import queue
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import psutil
import tritonclient.grpc as triton
from fovea_client.requests import Request
from fovea_client.statistics import BatchStatistics, ModelStatistics, read_statistics
from numpy.typing import NDArray
from rich.progress import Progress
from tritonclient.utils import (
    deserialize_bytes_tensor,
    np_to_triton_dtype,
    triton_to_np_dtype,
)

from benchmarks.capacity.repository import read_config
from benchmarks.capacity.service_times import CPU, BatchCurve, Step

Arrays = dict[str, NDArray[Any]]
Batches = Mapping[int, BatchStatistics]
# Bursts below which a batch size is left out.
_FEW = 3


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


def measure_step(
    caller: StepCaller,
    step: Step,
    given: Sequence[Arrays],
    *,
    server_pid: int,
    repetitions: int,
    progress: Progress | None = None,
) -> Step:
    """The step with its batch curve, and the threads that it keeps busy.

    given: inputs of single requests; batches take them in turn.
    """
    processes = instances(server_pid, step.model)
    cpu_before = processor_s(processes)
    seen = caller.statistics(step.model)
    bursts: list[Batches] = []
    sizes = batch_sizes(step.max_batch)
    rounds = [size for _ in range(repetitions) for size in sizes]
    shown = progress.track(rounds, description=step.model) if progress else rounds
    for number, size in enumerate(shown):
        caller.at_once(step.model, [given[(number + i) % len(given)] for i in range(size)])
        now = caller.statistics(step.model)
        bursts.append(now.since(seen).batches)
        seen = now
    curve = to_curve(bursts)
    if step.place != CPU:
        return dataclasses.replace(step, curve=curve)
    cpu_s = processor_s(processes) - cpu_before
    return dataclasses.replace(step, curve=curve, threads=threads(bursts, cpu_s))


def to_curve(bursts: Sequence[Batches]) -> BatchCurve:
    """The median over the bursts, by batch size, of those sizes that ran often enough."""
    taken: dict[int, list[float]] = {}
    for burst in bursts:
        for size, spent in burst.items():
            if spent.executions:
                taken.setdefault(size, []).append(spent.total_s / spent.executions)
    often = {size: values for size, values in sorted(taken.items()) if len(values) >= _FEW}
    return BatchCurve(tuple(often), tuple(map(statistics.median, often.values())))


def threads(bursts: Sequence[Batches], cpu_s: float) -> float:
    """Processors kept busy while the step runs: one that copies, and the model's own."""
    total_s = sum(spent.total_s for burst in bursts for spent in burst.values())
    copying_s = total_s - sum(spent.compute_s for burst in bursts for spent in burst.values())
    return float(np.clip((copying_s + cpu_s) / total_s, 0.1, psutil.cpu_count() or 1))


def batch_sizes(largest: int) -> list[int]:
    """1, 2, 4 ... and the largest."""
    sizes = [2**power for power in range(largest.bit_length()) if 2**power < largest]
    return [*sizes, largest]


def instances(server_pid: int, model: str) -> list[psutil.Process]:
    """The processes of a model's instances; the server's where the backend runs within it."""
    name = re.compile(rf"{re.escape(model)}_\d+_\d+")
    server = psutil.Process(server_pid)
    children = server.children(recursive=True)
    own = [child for child in children if any(name.fullmatch(arg) for arg in child.cmdline())]
    return own or [server]


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
