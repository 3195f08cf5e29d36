"""Small ONNX graphs, and model repositories made from them."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 9
# Triton's data types and ONNX's, all that onnxruntime and Triton share.
DATA_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "STRING": TensorProto.STRING,
}


def tensor(name, data_type, shape):
    return helper.make_tensor_value_info(name, DATA_TYPES[data_type], shape)


def model(nodes, inputs, outputs, initializers=()):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(initializers))
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)


def linear(batch="n"):
    """y = x @ w, z = -x."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 3], [float(i) for i in range(12)])
    return model(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Neg", ["x"], ["z"])],
        [tensor("x", "FP32", [batch, 4])],
        [tensor("y", "FP32", [batch, 3]), tensor("z", "FP32", [batch, 4])],
        [weights],
    )


def wide():
    """y = x @ w with 8 KiB of weights."""
    values = np.arange(4 * 512, dtype=np.float32).reshape(4, 512) % 7
    weights = numpy_helper.from_array(values, "w")
    return model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [tensor("x", "FP32", ["n", 4])],
        [tensor("y", "FP32", ["n", 512])],
        [weights],
    )


def lookup():
    """value = table[index]: an index beyond 4 fails at run time."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [5], [0.0, 10.0, 20.0, 30.0, 40.0])
    return model(
        [helper.make_node("Gather", ["table", "index"], ["value"])],
        [tensor("index", "INT64", ["n", 1])],
        [tensor("value", "FP32", ["n", 1])],
        [table],
    )


def text():
    """out = in, for strings."""
    return model(
        [helper.make_node("Identity", ["in"], ["out"])],
        [tensor("in", "STRING", ["n", "length"])],
        [tensor("out", "STRING", ["n", "length"])],
    )


def every_type():
    """One identity for each data type."""
    return model(
        [helper.make_node("Identity", [f"in_{t}"], [f"out_{t}"]) for t in DATA_TYPES],
        [tensor(f"in_{t}", t, ["n", "length"]) for t in DATA_TYPES],
        [tensor(f"out_{t}", t, ["n", "length"]) for t in DATA_TYPES],
    )


def config(inputs, outputs, *, batch=8, backend="onnxruntime", extra=""):
    """The text of a config.pbtxt.

    Args:
        inputs, outputs: "name TYPE dims" each, for example "x FP32 4" or "image UINT8 3,-1,-1".
    """
    return "\n".join(
        [
            f'backend: "{backend}"',
            f"max_batch_size: {batch}",
            *(f"input {_entry(line)}" for line in inputs),
            *(f"output {_entry(line)}" for line in outputs),
            "instance_group [{ kind: KIND_AUTO count: 1 }]"
            if "instance_group" not in extra
            else "",
            extra,
        ]
    )


def _entry(line):
    name, data_type, dims, *rest = line.split(" ", 3)
    return f'[{{ name: "{name}" data_type: TYPE_{data_type} dims: [{dims}] {"".join(rest)} }}]'


LINEAR_INPUTS = ("x FP32 4",)
LINEAR_OUTPUTS = ("y FP32 3", "z FP32 4")


def add_onnx(repository: Path, name, graph, text, filename="model.onnx"):
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    onnx.save(graph, folder / filename)
    (repository / name / "config.pbtxt").write_text(text)


def add_linear(repository: Path, name, *, extra="", filename="model.onnx"):
    text = config(LINEAR_INPUTS, LINEAR_OUTPUTS, extra=extra)
    add_onnx(repository, name, linear(), text, filename)


def add_python(repository: Path, name, text, source):
    folder = repository / name / "1"
    folder.mkdir(parents=True)
    (folder / "model.py").write_text(source)
    (repository / name / "config.pbtxt").write_text(text)


def add_ensemble(repository: Path, name, text):
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(text)


SLEEPER = """
import time
import triton_python_backend_utils as pb_utils
from fovea import triton_tensors

triton_tensors.prepare(pb_utils)


class TritonPythonModel:
    def execute(self, requests):
        time.sleep(0.3)
        inputs = [pb_utils.get_input_tensor_by_name(request, "x") for request in requests]
        return [
            pb_utils.InferenceResponse([triton_tensors.to_tensor(pb_utils, "y", x.as_numpy())])
            for x in inputs
        ]
"""


def add_sleeper(repository: Path, name="sleeper"):
    """A python model that takes 0.3 s per batch and returns its input."""
    add_python(
        repository, name, config(["x FP32 4"], ["y FP32 4"], backend="python", batch=4), SLEEPER
    )


def add_slow_to_load(repository: Path):
    """A python model that takes 30 s to load."""
    source = SLEEPER.replace("execute(self, requests)", "initialize(self, args)").replace(
        "0.3", "30"
    )
    text = config(["x FP32 4"], ["y FP32 4"], backend="python")
    add_python(repository, "slow", text, source)
