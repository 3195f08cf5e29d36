"""Compares the tensors of a Triton model configuration with those of an ONNX graph.

The rules are the official onnxruntime backend's: an input dimension may be -1 on either side, an
output dimension must be equal, and with `max_batch_size` > 0 the graph's first axis must be free.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import onnxruntime
from fovea_ort_session import Session

from fovea.openvino_session import GraphTensor

Tensor = dict[str, Any]
NodeArg = onnxruntime.NodeArg | GraphTensor

# onnxruntime's element types and Triton's names for them.
_DATA_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}


def check(config: dict[str, Any], session: Session) -> None:
    """Refuse a configuration that the graph cannot serve.

    Raises:
        ValueError: names the model, the tensor, and what the configuration and the graph say.
    """
    model = config["name"]
    required = {tensor.name: tensor for tensor in session.get_inputs()}
    overridable = {tensor.name: tensor for tensor in session.get_overridable_initializers()}
    inputs = config.get("input", [])
    _check_known(model, "input", inputs, {**required, **overridable})
    _check_complete(model, inputs, required)
    batches = config.get("max_batch_size", 0) > 0
    for tensor in inputs:
        _check_optional(model, tensor, required, batches=batches)
        graph = required.get(tensor["name"]) or overridable[tensor["name"]]
        _check_tensor(model, "input", tensor, graph, batches=batches, exact=False)
    outputs = {tensor.name: tensor for tensor in session.get_outputs()}
    _check_known(model, "output", config.get("output", ()), outputs)
    for tensor in config.get("output", ()):
        _check_tensor(model, "output", tensor, outputs[tensor["name"]], batches=batches, exact=True)


def _check_known(
    model: str, role: str, tensors: Iterable[Tensor], graph: Mapping[str, NodeArg]
) -> None:
    for tensor in tensors:
        if tensor["name"] not in graph:
            raise ValueError(
                f"model '{model}': the configuration has an {role} '{tensor['name']}', "
                f"the graph's {role}s are {', '.join(sorted(graph))}"
            )


def _check_complete(model: str, inputs: list[Tensor], required: Mapping[str, NodeArg]) -> None:
    missing = sorted(set(required) - {tensor["name"] for tensor in inputs})
    if missing:
        raise ValueError(
            f"model '{model}': the configuration has {len(inputs)} inputs, the graph needs "
            f"{len(required)}; missing: {', '.join(missing)}"
        )


def _check_optional(
    model: str, tensor: Tensor, required: Mapping[str, NodeArg], *, batches: bool
) -> None:
    if not tensor.get("optional"):
        return
    if batches:
        raise ValueError(
            f"model '{model}': input '{tensor['name']}' is optional, "
            "which is not supported with max_batch_size > 0"
        )
    if tensor["name"] in required:
        raise ValueError(
            f"model '{model}': input '{tensor['name']}' is optional in the configuration, "
            "but the graph needs it"
        )


def _check_tensor(
    model: str,
    role: str,
    tensor: Tensor,
    graph: NodeArg,
    *,
    batches: bool,
    exact: bool,
) -> None:
    where = f"model '{model}', {role} '{tensor['name']}'"
    found = _DATA_TYPES.get(graph.type)
    if found != tensor["data_type"]:
        raise ValueError(
            f"{where}: the configuration says {tensor['data_type']}, "
            f"the graph has {found or graph.type}"
        )
    shape = [size if isinstance(size, int) and size >= 0 else -1 for size in graph.shape]
    dims = [int(size) for size in (tensor.get("reshape") or {}).get("shape", tensor["dims"])]
    if not shape and not batches:
        _check_scalar(where, dims)
    else:
        _check_dims(where, dims, shape, batches=batches, exact=exact)


def _check_scalar(where: str, dims: list[int]) -> None:
    if any(size != 1 for size in dims):
        raise ValueError(f"{where}: the graph has a scalar, the configuration says dims {dims}")


def _check_dims(
    where: str, dims: list[int], shape: list[int], *, batches: bool, exact: bool
) -> None:
    if batches and (not shape or shape[0] != -1):
        raise ValueError(
            f"{where}: max_batch_size > 0 needs a free first dimension, the graph has {shape}"
        )
    full = [-1, *dims] if batches else dims
    said = f"{full} (with the batch axis)" if batches else f"{full}"
    if len(full) != len(shape) or not all(
        ours == theirs or (not exact and -1 in (ours, theirs))
        for ours, theirs in zip(full, shape, strict=True)
    ):
        raise ValueError(f"{where}: the configuration says shape {said}, the graph has {shape}")
