"""The only torch.onnx.export call."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import onnx
import torch

from export.errors import ParityError
from export.grid_sample import GridSample, sampling
from export.network import Network
from export.onnx_files import EMBEDDED_BYTES, save
from fovea.specs import ModelSpec, TensorSpec

OPSET = 17
ONNX_DTYPES = {
    "BOOL": onnx.TensorProto.BOOL,
    "UINT8": onnx.TensorProto.UINT8,
    "INT32": onnx.TensorProto.INT32,
    "INT64": onnx.TensorProto.INT64,
    "FP32": onnx.TensorProto.FLOAT,
}


def to_onnx(
    network: Network,
    path: Path,
    *,
    grid_sample: GridSample = "native",
    embedded_bytes: int = EMBEDDED_BYTES,
) -> None:
    """Write `network` to `path` as ONNX with the names, dtypes and axes of its spec.

    grid_sample: "gather" leaves no GridSample operator in the graph. embedded_bytes: heavier
    weights lie beside the graph, in one file (`export.onnx_files`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    model = network.graph() if network.graph else _traced(network, path, grid_sample)
    _state_shapes(network.spec, model)
    save(model, path, embedded_bytes)


def _traced(network: Network, path: Path, grid_sample: GridSample) -> onnx.ModelProto:
    """The graph as the TorchScript exporter writes it; its extra files lie beside `path`."""
    spec = network.spec
    # Batch 2: with 1, the tracer could take the axis for a constant.
    sample = {name: torch.from_numpy(array) for name, array in network.sample(2, 1).items()}
    axes = {tensor.name: _dynamic_axes(tensor) for tensor in (*spec.inputs, *spec.outputs)}
    with (
        # For large models the exporter writes one file per weight.
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".tracing-") as folder,
        warnings.catch_warnings(),
        torch.no_grad(),
        network.tracing(),
        sampling(grid_sample),
    ):
        warnings.simplefilter("ignore")
        traced = Path(folder) / path.name
        torch.onnx.export(
            network.module.eval(),
            tuple(sample[tensor.name] for tensor in spec.inputs),
            str(traced),
            input_names=[tensor.name for tensor in spec.inputs],
            output_names=[tensor.name for tensor in spec.outputs],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        return onnx.load(str(traced))


def _dynamic_axes(tensor: TensorSpec) -> dict[int, str]:
    axes = {0: "batch"}
    axes |= {i + 1: f"{tensor.name}_{i}" for i, edge in enumerate(tensor.shape) if edge == -1}
    return axes


def _state_shapes(spec: ModelSpec, model: onnx.ModelProto) -> None:
    """Write the spec's shapes into the graph where the tracer could not infer them.

    Triton's onnxruntime backend refuses a config with other dims than the graph's. Raises
    ParityError for a name or dtype that differs, or a fixed edge that contradicts the spec.
    """
    for values, tensors in (
        (model.graph.input, spec.inputs),
        (model.graph.output, spec.outputs),
    ):
        if [value.name for value in values] != [tensor.name for tensor in tensors]:
            raise ParityError(
                f"{spec.name}: expected tensors {[t.name for t in tensors]}, "
                f"got {[v.name for v in values]}"
            )
        for value, tensor in zip(values, tensors, strict=True):
            _state_shape(spec.name, value, tensor)


def _state_shape(model: str, value: onnx.ValueInfoProto, tensor: TensorSpec) -> None:
    kind = value.type.tensor_type
    if kind.elem_type != ONNX_DTYPES[tensor.dtype]:
        raise ParityError(
            f"{model}: {tensor.name} should be {tensor.dtype}, "
            f"the graph has {onnx.TensorProto.DataType.Name(kind.elem_type)}"
        )
    edges = (-1, *tensor.shape)
    if len(kind.shape.dim) != len(edges):
        raise ParityError(
            f"{model}: {tensor.name} should have {len(edges)} axes, got {len(kind.shape.dim)}"
        )
    names = _dynamic_axes(tensor)
    for axis, (dim, edge) in enumerate(zip(kind.shape.dim, edges, strict=True)):
        if dim.HasField("dim_value") and dim.dim_value != edge:
            raise ParityError(
                f"{model}: axis {axis} of {tensor.name} should be "
                f"{'dynamic' if edge == -1 else edge}, the graph fixes {dim.dim_value}"
            )
        if edge == -1:
            dim.dim_param = names[axis]
        else:
            dim.dim_value = edge
