"""Adapts the graph of a detector's ONNX file, and runs the file as it came.

Only the ends of a file change: pixels come as uint8 and are converted, outputs are renamed, and the
batch axis becomes free.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from export.onnx_detectors import OnnxDetector
from fovea.roles import PIXEL_VALUES
from fovea.specs import ModelSpec

BATCH = "batch"


class Original(nn.Module):
    """The unchanged file, one picture at a time: the reference for the adapted graph.

    pixel_values uint8 [N, 3, H, W] -> its outputs. scale: factor for a pixel's value.
    """

    def __init__(self, detector: OnnxDetector, scale: float) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(detector.path), options, providers=["CPUExecutionProvider"]
        )
        self._input = detector.input
        self._dtype = helper.tensor_dtype_to_np_dtype(detector.dtype)
        self._scale = scale

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        rows = [self.answer(picture) for picture in pixel_values.numpy()]
        return tuple(
            torch.from_numpy(np.concatenate(outputs)) for outputs in zip(*rows, strict=True)
        )

    def answer(self, picture: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The outputs for one picture uint8 [3, H, W], with the batch axis."""
        pixels = picture[None]
        if self._dtype != np.uint8:
            pixels = (pixels.astype(np.float32) * np.float32(self._scale)).astype(self._dtype)
        answers: list[NDArray[np.float32]] = self._session.run(None, {self._input: pixels})
        return answers


def graph(detector: OnnxDetector, spec: ModelSpec, scale: float) -> onnx.ModelProto:
    """The file with the inputs and outputs of `spec`, for any batch.

    scale: factor for a pixel's value, if the file takes floats.
    """
    model = onnx.ModelProto()
    model.CopyFrom(detector.model)
    if detector.shape[0] is not None:
        _free_batch(model)
    _take_uint8(model, detector, spec, scale)
    for value, tensor in zip(model.graph.output, spec.outputs, strict=True):
        _rename(model, value.name, tensor.name)
        shape = [BATCH, *tensor.shape]
        value.CopyFrom(helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, shape))
    # The inner tensors have the shapes of a batch of 1.
    del model.graph.value_info[:]
    del model.metadata_props[:]
    return model


def _free_batch(model: onnx.ModelProto) -> None:
    """Make every Reshape to a batch of 1 keep the batch of its input."""
    reshapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            tensors[node.output[0]] = node.attribute[0].t
    for name in reshapes & tensors.keys():
        shape = numpy_helper.to_array(tensors[name]).copy()
        if shape.ndim == 1 and len(shape) > 1 and shape[0] == 1:
            shape[0] = 0  # ONNX: the input's
            tensors[name].CopyFrom(numpy_helper.from_array(shape, tensors[name].name))


def _take_uint8(
    model: onnx.ModelProto, detector: OnnxDetector, spec: ModelSpec, scale: float
) -> None:
    """Turn uint8 into the pixels that the file takes, or rename the input of a file of uint8."""
    [pixels] = spec.inputs
    nodes = []
    if detector.dtype != TensorProto.UINT8:
        factor = numpy_helper.from_array(np.float32(scale), "normalize/scale")
        model.graph.initializer.append(factor)
        nodes = [
            helper.make_node("Cast", [PIXEL_VALUES], ["normalize/float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["normalize/float", factor.name], ["normalize/scaled"]),
            helper.make_node("Cast", ["normalize/scaled"], [detector.input], to=detector.dtype),
        ]
        for node, name in zip(nodes, ("Cast", "Mul", "To"), strict=True):
            node.name = f"/normalize/{name}"  # the name that `export.precision` knows
    else:
        _rename(model, detector.input, PIXEL_VALUES)  # TensorRT takes uint8 as an input alone
    body = [*nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(body)
    del model.graph.input[:]
    model.graph.input.append(
        helper.make_tensor_value_info(PIXEL_VALUES, TensorProto.UINT8, [BATCH, *pixels.shape])
    )


def _rename(model: onnx.ModelProto, old: str, new: str) -> None:
    """Rename a tensor in every node that reads or writes it."""
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
