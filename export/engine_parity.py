"""Compares an engine with its ONNX network, on the GPU that it was built for.

The samples are the export's own, with ONNX Runtime's answers to them, so the machine that builds
engines needs neither checkpoints nor tokenizers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from export.errors import EngineError, ParityError
from export.network import Arrays, Network
from export.parity import compare, worst
from export.task_terms import below, task_terms
from export.to_engine import Library, local_compute_capability
from fovea.specs import ModelSpec

# Batches of the samples: alone, and with a neighbour.
BATCHES = (1, 2)
# Kernels of a GPU sum in a different order than a CPU's.
LEAST_DIFFERENCE = 1e-3


def samples_path(path: Path) -> Path:
    """The samples' path, beside model.onnx."""
    return path.with_suffix(".samples.npz")


def write_samples(network: Network, path: Path, out: Path) -> None:
    """Write the inputs of every variant and the answers of the graph at `path` to `out`."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    arrays: Arrays = {}
    for batch in BATCHES:
        for variant in range(network.variants):
            sample = network.sample(batch, variant)
            outputs = session.run(None, sample)
            answers = {t.name: a for t, a in zip(network.spec.outputs, outputs, strict=True)}
            for name, array in (sample | answers).items():
                arrays[f"{batch}/{variant}/{name}"] = array
    np.savez_compressed(out, **arrays)


def read_samples(path: Path) -> dict[tuple[int, int], Arrays]:
    """Inputs and answers by (batch, variant)."""
    found: dict[tuple[int, int], Arrays] = {}
    with np.load(samples_path(path)) as stored:
        for key in stored.files:
            batch, variant, name = key.split("/", 2)
            found.setdefault((int(batch), int(variant)), {})[name] = stored[key]
    return found


def check_engine(
    plan: bytes,
    spec: ModelSpec,
    path: Path,
    library: Library,
    compute_capability: str,
    *,
    stop: bool = True,
) -> dict[str, Any]:
    """The verdict of `judge` on an engine, or why it cannot be run here.

    path: the ONNX network, whose samples lie beside it.
    """
    reason = _why_not(compute_capability)
    if reason:
        return {"skipped": reason}
    return judge(spec, read_samples(path), Engine(plan, library).run, stop=stop)


def judge(
    spec: ModelSpec,
    samples: dict[tuple[int, int], Arrays],
    run: Callable[[Arrays], Arrays],
    *,
    stop: bool = True,
) -> dict[str, Any]:
    """Compare answers with the graph's, number by number and in task terms.

    An engine whose numbers drift passes if boxes, labels, masks and directions stay the same: in
    half precision, a GPU sums in a different order than a CPU.

    Args:
        samples: in batches up to the spec's largest; larger ones are left out.
        run: maps the inputs of one batch to its outputs.
        stop: raise ParityError if both drift; otherwise the answer has it as "failed".
    """
    difference = max(spec.tolerance.difference, LEAST_DIFFERENCE)
    checked = replace(spec, tolerance=replace(spec.tolerance, difference=difference))
    agreements, drift, terms = [], [], dict[str, float]()
    for (batch, variant), sample in samples.items():
        if batch > spec.max_batch_size:
            continue
        got = run({tensor.name: sample[tensor.name] for tensor in spec.inputs})
        expected = {tensor.name: sample[tensor.name] for tensor in spec.outputs}
        for name, value in task_terms(expected, got).items():
            terms[name] = min(value, terms.get(name, value))
        try:
            agreements += compare(checked, expected, got, batch, variant)
        except ParityError as error:
            drift.append(str(error))
    wrong = below(terms)
    found = {"worst": worst(agreements), "task": terms, "drift": drift}
    if drift and wrong:
        if stop:
            raise ParityError(f"{drift[0]}; and in task terms {', '.join(wrong)}")
        found["failed"] = wrong
    return found


def _why_not(compute_capability: str) -> str | None:
    local = local_compute_capability()
    if local is None:
        return "no CUDA device"
    if local != compute_capability:
        return f"the device has compute capability {local}"
    return None


class Engine:
    """A loaded engine, run with torch's CUDA memory."""

    def __init__(self, plan: bytes, library: Library) -> None:
        trt = library.load()
        self._log = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._log)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError(f"{library.name} cannot load the engine that it built")
        self._context = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        mode = trt.TensorIOMode.OUTPUT
        self._outputs = [n for n in names if self._engine.get_tensor_mode(n) == mode]
        self._dtypes = {n: trt.nptype(self._engine.get_tensor_dtype(n)) for n in self._outputs}

    def run(self, inputs: Arrays) -> Arrays:
        """One batch; inputs and outputs by name."""
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            tensors = {name: torch.from_numpy(a).cuda() for name, a in inputs.items()}
            for name, tensor in tensors.items():
                self._context.set_input_shape(name, tuple(tensor.shape))
            for name in self._outputs:
                empty = np.empty(tuple(self._context.get_tensor_shape(name)), self._dtypes[name])
                tensors[name] = torch.from_numpy(empty).cuda()
            for name, tensor in tensors.items():
                self._context.set_tensor_address(name, tensor.data_ptr())
            if not self._context.execute_async_v3(stream.cuda_stream):
                raise EngineError("the engine did not run")
        stream.synchronize()
        return {name: tensors[name].cpu().numpy() for name in self._outputs}
