"""ONNX graphs on the OpenVINO runtime, in bf16 if the processor has it (AMX, AVX-512 BF16).

Matrix products with int8 weights in the graph run in int8 if the precision says so.

The package `openvino` is optional (`pip install 'fovea[openvino]'`), hence the late import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]

# The precisions here, and OpenVINO's names for them. Inputs and outputs keep their types.
PRECISIONS = {"fp32": "f32", "bf16": "bf16", "bf16-int8": "bf16"}
# Values along a row that share a scale if a weight is int8: between 32 and 768, the fastest, and as
# exact as any (docs/performance.md).
QUANTIZATION_GROUP = 128
# OpenVINO's element types and onnxruntime's names of them.
_TYPES = {
    "boolean": "tensor(bool)",
    "u8": "tensor(uint8)",
    "i8": "tensor(int8)",
    "u16": "tensor(uint16)",
    "i16": "tensor(int16)",
    "u32": "tensor(uint32)",
    "i32": "tensor(int32)",
    "u64": "tensor(uint64)",
    "i64": "tensor(int64)",
    "f16": "tensor(float16)",
    "f32": "tensor(float)",
    "f64": "tensor(double)",
    "string": "tensor(string)",
}


@dataclass(frozen=True)
class GraphTensor:
    """An input or output, described like onnxruntime's NodeArg; a free edge is None."""

    name: str
    type: str
    shape: list[int | None]


class OpenVinoSession:
    """An ONNX file compiled for the CPU, with the methods of onnxruntime's InferenceSession.

    Not thread-safe: it has one inference request, whose memory each run reuses.
    """

    def __init__(self, path: Path | str, *, precision: str = "fp32", threads: int = 0) -> None:
        """Read and compile the file.

        precision: a key of PRECISIONS; the session's own is fp32 if the processor has no bf16.
        threads: 0 uses one per core.
        Raises ImportError without the package, ValueError for an unknown precision, and
        RuntimeError for a file that OpenVINO cannot read or compile.
        """
        if precision not in PRECISIONS:
            raise ValueError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}")
        import openvino

        core = openvino.Core()
        able = precision == "fp32" or "BF16" in core.get_property(
            "CPU", "OPTIMIZATION_CAPABILITIES"
        )
        self.precision = precision if able else "fp32"
        settings: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": PRECISIONS[self.precision],
            # The networks share the cores: the scheduler places their threads.
            "ENABLE_CPU_PINNING": False,
        }
        if self.precision == "bf16-int8":
            settings["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = QUANTIZATION_GROUP
        if threads > 0:
            settings["INFERENCE_NUM_THREADS"] = threads
        model = core.read_model(str(path))
        _broadcast_instead_of_tile(model)
        compiled = core.compile_model(model, "CPU", settings)
        self._inputs = [_describe(port.node.friendly_name, port) for port in compiled.inputs]
        # An output that passes through an Identity has two names.
        self._ports = {name: port for port in compiled.outputs for name in port.names}
        self._request = compiled.create_infer_request()

    def run(self, names: Sequence[str], feed: Arrays, options: None = None) -> list[NDArray[Any]]:
        """The named outputs, one array each. A run has no options."""
        arrays = {name: np.ascontiguousarray(array) for name, array in feed.items()}
        found = self._request.infer(arrays, share_inputs=True, share_outputs=True)
        return [np.array(found[self._ports[name]]) for name in names]

    def get_inputs(self) -> list[GraphTensor]:
        return self._inputs

    def get_outputs(self) -> list[GraphTensor]:
        return [_describe(name, port) for name, port in self._ports.items()]

    def get_overridable_initializers(self) -> list[GraphTensor]:
        return []

    def get_providers(self) -> list[str]:
        return ["OpenVINO"]


def _broadcast_instead_of_tile(model: Any) -> None:
    """Replace Tile by Broadcast where only axes of length 1 are repeated.

    OpenVINO 2026.4's Tile mixes up the axes when it repeats two of four, as in the text mask of
    GroundingDINO's decoder: answers are wrong without an error.
    """
    from openvino import opset13

    for node in model.get_ordered_ops():
        if node.get_type_name() != "Tile":
            continue
        repeats = _constant(node.input_value(1).get_node())
        edges = list(node.get_input_partial_shape(0))
        if repeats is None or len(edges) != len(repeats):
            continue
        single = [edge.is_static and edge.get_length() == 1 for edge in edges]
        if all(one or count == 1 for one, count in zip(single, repeats, strict=True)):
            target = opset13.constant(repeats)
            wide = opset13.broadcast(node.input_value(0), target, broadcast_spec="BIDIRECTIONAL")
            for user in node.output(0).get_target_inputs():
                user.replace_source_output(wide.output(0))
    model.validate_nodes_and_infer_types()


def _constant(node: Any) -> NDArray[np.int64] | None:
    """The value of a constant, maybe behind a Convert."""
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    if node.get_type_name() != "Constant":
        return None
    return np.asarray(node.get_data(), np.int64)


def _describe(name: str, port: Any) -> GraphTensor:
    shape = [None if edge.is_dynamic else edge.get_length() for edge in port.partial_shape]
    kind = port.element_type.get_type_name()
    return GraphTensor(name, _TYPES.get(kind, kind), shape)
