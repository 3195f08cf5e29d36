"""The five networks called directly: the exported graphs, and PyTorch eager or compiled."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, Protocol

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from export.network import Network
from export.parity import Session
from export.pipeline import Export
from export.precision import POLICIES
from fovea.specs import ModelSpec

Arrays = dict[str, NDArray[Any]]
# ONNX Runtime's, by the accelerator of export.runtimes; what one cannot run, the next one does.
PROVIDERS = {
    "": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
}
# PyTorch computes in this type on each device: half precision is slower than fp32 on most CPUs.
DTYPES = {"cuda": torch.float16, "cpu": torch.float32}


class Runner(Protocol):
    """Runs one network on a batch: arrays in and out by the names of its spec."""

    def __call__(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays: ...


class OnnxRunner:
    """The exported graph as the server runs it, with as many threads as there are cores."""

    def __init__(self, spec: ModelSpec, export: Export) -> None:
        self._session = _session(spec.name, export)
        self._outputs = [tensor.name for tensor in spec.outputs]

    def __call__(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(feeds)), strict=True))


def _session(network: str, export: Export) -> Session:
    path, runtime = export.onnx_path(network), export.runtime
    if runtime.accelerator not in PROVIDERS:
        return runtime.open_session(path, POLICIES[network].takes(export.precision))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = os.cpu_count() or 1
    # As in the server: a spinning thread takes a core from the next network.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = PROVIDERS[runtime.accelerator]
    return onnxruntime.InferenceSession(str(path), options, providers=providers)


class TorchRunner:
    """The checkpoint's own modules; inputs and answers are on the host, as a caller has them.

    In half precision the weights are half, and autocast keeps what must not be, as users do.
    """

    def __init__(
        self,
        network: Network,
        device: str = "cpu",
        compiler: Callable[[nn.Module], Callable[..., Any]] | None = None,
    ) -> None:
        self._device, self._dtype = device, DTYPES[device]
        module = network.module.to(device, self._dtype).eval()
        self._call = compiler(module) if compiler else module
        self._inputs = [tensor.name for tensor in network.spec.inputs]
        self._outputs = [tensor.name for tensor in network.spec.outputs]

    @torch.inference_mode()
    def __call__(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        inputs = [torch.from_numpy(feeds[name]).to(self._device) for name in self._inputs]
        with ExitStack() as stack:
            if self._device != "cpu":
                # What a graph makes itself, such as a mask, is made on the device too.
                stack.enter_context(torch.device(self._device))
            if self._dtype != torch.float32:
                stack.enter_context(torch.autocast(self._device, self._dtype))
            outputs = self._call(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        arrays = [output.float().cpu().numpy() for output in outputs]
        return dict(zip(self._outputs, arrays, strict=True))


def compiled(module: nn.Module) -> Callable[..., Any]:
    """torch.compile for fixed shapes, which each batch size of the benchmark is."""
    return torch.compile(module, dynamic=False)


def repeat_rows(sample: Mapping[str, NDArray[Any]], batch: int) -> Arrays:
    """A sample of one row as a batch of equal rows."""
    return {name: np.repeat(array, batch, axis=0) for name, array in sample.items()}
