"""Detectors that come as ONNX files: reads them and recognises their writer."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from export.errors import InvalidCheckpoint

SUFFIX = ".onnx"
# Operators that a network must not contain: their output depends on the picture.
_SUPPRESSION = {"NonMaxSuppression", "NonZero", "TopK", "EfficientNMS_TRT"}


@dataclass(frozen=True)
class OnnxDetector:
    """A detector's file.

    shape: of its picture, (batch, 3, H, W), None where free. metadata: its writer's.
    outputs: name -> shape.
    """

    path: Path
    model: onnx.ModelProto
    input: str
    dtype: int
    shape: tuple[int | None, ...]
    outputs: dict[str, tuple[int | None, ...]]
    metadata: dict[str, str]

    @property
    def operators(self) -> set[str]:
        return {node.op_type for node in self.model.graph.node}

    @property
    def suppresses(self) -> bool:
        """Whether the graph chooses boxes itself."""
        return bool(self.operators & _SUPPRESSION)

    @property
    def shown_outputs(self) -> str:
        """Names and shapes of its outputs, for people."""
        found = ", ".join(f"{name} {list(shape)}" for name, shape in self.outputs.items())
        return f"{found} (with suppression)" if self.suppresses else found

    def setting(self, name: str) -> Any:
        """A metadata value, written as a Python literal; None if there is none."""
        try:
            return ast.literal_eval(self.metadata[name])
        except (KeyError, ValueError, SyntaxError):
            return None


def read(path: Path) -> OnnxDetector:
    """Read a file; raises InvalidCheckpoint unless it is an ONNX file that takes one picture."""
    try:
        model = onnx.load(str(path))
    except (DecodeError, OSError, ValueError) as error:
        raise InvalidCheckpoint(f"{path}: expected an ONNX file: {error}") from error
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    shape = _shape(inputs[0]) if inputs else ()
    if len(inputs) != 1 or len(shape) != 4 or shape[1] != 3:
        got = ", ".join(f"{value.name} {list(_shape(value))}" for value in inputs) or "nothing"
        raise InvalidCheckpoint(
            f"{path}: expected a graph that takes one picture [N, 3, H, W], got {got}"
        )
    return OnnxDetector(
        path,
        model,
        inputs[0].name,
        inputs[0].type.tensor_type.elem_type,
        shape,
        {value.name: _shape(value) for value in model.graph.output},
        {pair.key: pair.value for pair in model.metadata_props},
    )


def family_of(path: Path) -> str:
    """The family of an ONNX file; raises InvalidCheckpoint for an unknown one."""
    detector = read(path)
    if {"names", "task"} <= detector.metadata.keys():
        return "yolov8"
    if len(detector.outputs) >= 2:
        return "yolo_nas"
    raise InvalidCheckpoint(
        f"{path}: expected an ONNX file that ultralytics or super-gradients wrote, "
        f"got one with {detector.shown_outputs}"
    )


def _shape(value: onnx.ValueInfoProto) -> tuple[int | None, ...]:
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else None
        for dim in value.type.tensor_type.shape.dim
    )
