"""Each network called directly, by batch size: PyTorch eager and compiled, ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.exports import Exported
from benchmarks.figures import Budget, Spread, powers_of_two
from benchmarks.order import Scale
from benchmarks.results import NetworkResult
from export.deployments import Export
from export.network import Network
from export.parity import Session
from export.timing import TURN_S, in_turn, seconds_per_call
from fovea.local import Runner
from fovea.roles import Arrays

EAGER, COMPILED, ONNX = "pytorch", "pytorch compiled", "onnxruntime"
# What torch.compile may take before it pays, in calls of the eager network, and at least in s.
COMPILE_CALLS = 10
COMPILE_S = 60.0
# ONNX Runtime's, by the accelerator of export.runtimes; what one cannot run, the next one does.
PROVIDERS = {
    "": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
}
# PyTorch computes in this type on each device: half precision is slower than fp32 on most CPUs.
DTYPES = {"cuda": torch.float16, "cpu": torch.float32}


def onnx_runner(network: Network, export: Export) -> Runner:
    """The exported graph as the server runs it, with as many threads as there are cores."""
    session = _session(network, export)
    outputs = [tensor.name for tensor in network.spec.outputs]
    return lambda feeds: dict(zip(outputs, session.run(outputs, dict(feeds)), strict=True))


def _session(network: Network, export: Export) -> Session:
    path, form = export.onnx_path(network.spec.name), export.form
    runtime = form.runtime
    if runtime.accelerator not in PROVIDERS:
        return runtime.open_session(path, network.policy.takes(form.precision))
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

    def __init__(self, network: Network, device: str = "cpu", *, compile: bool = False) -> None:
        self._device, self._dtype = device, DTYPES[device]
        module: nn.Module = network.module.to(device, self._dtype).eval()
        # Each batch size of the benchmark has fixed shapes.
        self._call = torch.compile(module, dynamic=False) if compile else module
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


@dataclass
class _Entry:
    """A side with one batch size of one network. seconds: per call, by round; first_s: once."""

    network: Network
    side: str
    batch: int
    runner: Runner
    seconds: list[float] = field(default_factory=list)
    first_s: float = 0.0

    def __post_init__(self) -> None:
        sample = self.network.sample(1, 0)
        self._feeds = {name: np.repeat(a, self.batch, axis=0) for name, a in sample.items()}

    @property
    def name(self) -> str:
        return f"{self.network.spec.name}: {self.side}, batch {self.batch}"

    def call(self) -> None:
        self.runner(self._feeds)

    def warm_up(self) -> None:
        self.call()
        self.first_s = seconds_per_call(self.call, 1)

    def result(self) -> NetworkResult:
        return NetworkResult(
            network=self.network.spec.name,
            side=self.side,
            batch=self.batch,
            batch_ms=Spread.of(1000 * s for s in self.seconds),
            rows_per_s=Spread.of(self.batch / s for s in self.seconds),
        )


class DirectNetworks:
    """Measures the sides in turns, and keeps the fastest runner of each network.

    The scale's `compile` adds torch.compile, at the eager network's best batch.
    """

    def __init__(
        self, exported: Exported, device: str, scale: Scale, say: Callable[[str], None]
    ) -> None:
        self._exported, self._device, self._scale, self._say = exported, device, scale, say
        self._entries: dict[str, _Entry] = {}
        self.onnx: dict[str, Runner] = {}
        self.torch: dict[str, Runner] = {}

    def measure(self, budget: Budget) -> list[NetworkResult]:
        """One call of each to get to know it, then the rounds."""
        for network in self._exported.networks:
            name = network.spec.name
            self.torch[name] = TorchRunner(network, self._device)
            self.onnx[name] = onnx_runner(network, self._exported.export)
            for side, runner in ((EAGER, self.torch[name]), (ONNX, self.onnx[name])):
                self._add(network, side, runner, budget)
        if self._scale.compile:
            for network in self._exported.networks:
                self._add_compiled(network, budget)
        for index in range(self._scale.rounds):
            for entry in in_turn([*self._entries.values()], index):
                expected_s = max(TURN_S, entry.seconds[-1] if entry.seconds else entry.first_s)
                if budget.allows(expected_s, f"{entry.name}, round {index + 1}"):
                    self._say(entry.name)
                    repeats = max(1, round(TURN_S / entry.first_s))
                    entry.seconds.append(seconds_per_call(entry.call, repeats))
        self._choose()
        return [entry.result() for entry in self._entries.values() if entry.seconds]

    def _add(self, network: Network, side: str, runner: Runner, budget: Budget) -> None:
        """Ascending batch sizes, each called once to warm up and once by the clock."""
        before_s = 0.0
        for batch in powers_of_two(min(self._scale.largest_batch, network.spec.max_batch_size)):
            entry = _Entry(network, side, batch, runner)
            if not budget.allows(4 * before_s, entry.name):
                return
            self._say(entry.name)
            entry.warm_up()
            before_s, self._entries[entry.name] = entry.first_s, entry

    def _add_compiled(self, network: Network, budget: Budget) -> None:
        """Only where the rounds of all that is there still fit afterwards."""
        known = [*self._entries.values()]
        eager = [entry for entry in known if entry.network is network and entry.side == EAGER]
        best = max(eager, key=lambda entry: entry.batch / entry.first_s)
        entry = _Entry(network, COMPILED, best.batch, best.runner)
        rounds_s = self._scale.rounds * sum(max(TURN_S, other.first_s) for other in known)
        if not budget.allows(rounds_s + COMPILE_S + COMPILE_CALLS * best.first_s, entry.name):
            return
        self._say(f"{entry.name}: compiling")
        entry.runner = TorchRunner(network, self._device, compile=True)
        try:
            entry.warm_up()
        except Exception as error:  # the compiler raises many kinds; eager stays
            budget.left_out.append(f"{entry.name}: {type(error).__name__}")
            return
        self._entries[entry.name] = entry

    def _choose(self) -> None:
        """PyTorch's runner of each network: the compiled one where it is faster."""
        for entry in self._entries.values():
            if entry.side == COMPILED and entry.seconds:
                name = entry.network.spec.name
                eager = self._entries[f"{name}: {EAGER}, batch {entry.batch}"]
                if not eager.seconds or min(entry.seconds) < min(eager.seconds):
                    self.torch[name] = entry.runner
