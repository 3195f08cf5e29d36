"""Runs a network in double precision, the reference that float32 is measured against."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from export.network import Arrays, Network


class _Doubled(TorchFunctionMode):
    """Gives float64 to whatever asks for float32."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.float:
            func = Tensor.double
        asked = {name: _doubled(value) for name, value in (kwargs or {}).items()}
        return func(*map(_doubled, args), **asked)


def _doubled(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


def run_float64(network: Network, sample: Arrays) -> Arrays:
    """The network's answer in float64, with weights and intermediate values widened."""
    module = copy.deepcopy(network.module).double().eval()
    tensors = [torch.from_numpy(sample[tensor.name]) for tensor in network.spec.inputs]
    inputs = [one.double() if one.is_floating_point() else one for one in tensors]
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), _Doubled():
            outputs = module(*inputs)
    finally:
        torch.set_default_dtype(before)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    names = [tensor.name for tensor in network.spec.outputs]
    return {name: output.numpy() for name, output in zip(names, outputs, strict=True)}
