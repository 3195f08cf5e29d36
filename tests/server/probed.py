"""A repository for the probe: an ensemble of a quick step and of one that obeys a file."""

from pathlib import Path

from . import graphs

ENTRY = """
import numpy as np
import triton_python_backend_utils as pb_utils
from fovea import triton_tensors

triton_tensors.prepare(pb_utils)


class TritonPythonModel:
    def execute(self, requests):
        return [
            pb_utils.InferenceResponse(
                [triton_tensors.to_tensor(pb_utils, "x", np.zeros((1, 4), np.float32))]
            )
            for _ in requests
        ]
"""
WORKER = """
import json
import time
from pathlib import Path

import triton_python_backend_utils as pb_utils
from fovea import triton_tensors

triton_tensors.prepare(pb_utils)


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.orders = Path(config["parameters"]["orders"]["string_value"])

    def execute(self, requests):
        while (orders := self.orders.read_text()) == "hang":
            time.sleep(0.05)
        if orders == "fail":
            error = pb_utils.TritonError("it does not work any more")
            return [pb_utils.InferenceResponse(error=error) for _ in requests]
        time.sleep(float(orders))
        inputs = [pb_utils.get_input_tensor_by_name(request, "x") for request in requests]
        return [
            pb_utils.InferenceResponse([triton_tensors.to_tensor(pb_utils, "y", x.as_numpy())])
            for x in inputs
        ]
"""
VERB = """
platform: "ensemble"
max_batch_size: 1
input [{ name: "IMAGE" data_type: TYPE_STRING dims: [1] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [4] }]
ensemble_scheduling { step [
  {
    model_name: "entry" model_version: -1
    input_map { key: "IMAGE" value: "IMAGE" }
    output_map { key: "x" value: "x" }
  },
  {
    model_name: "worker" model_version: -1
    input_map { key: "x" value: "x" }
    output_map { key: "y" value: "y" }
  }
] }
"""
UNKNOWN = """
platform: "ensemble"
max_batch_size: 1
input [{ name: "x" data_type: TYPE_FP32 dims: [4] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [4] }]
ensemble_scheduling { step [{
  model_name: "worker" model_version: -1
  input_map { key: "x" value: "x" }
  output_map { key: "y" value: "y" }
}] }
"""


def add_models(repository: Path, orders: Path):
    """verb (IMAGE -> entry -> worker -> y), and stranger (x -> worker), which no probe can call.

    orders: the file that tells the worker "fail", "hang", or how many seconds to take for each.
    """
    text = graphs.config(["IMAGE STRING 1"], ["x FP32 4"], backend="python", batch=1)
    graphs.add_python(repository, "entry", text, ENTRY)
    parameter = f'parameters {{ key: "orders" value {{ string_value: "{orders}" }} }}'
    text = graphs.config(["x FP32 4"], ["y FP32 4"], backend="python", batch=1, extra=parameter)
    graphs.add_python(repository, "worker", text, WORKER)
    graphs.add_ensemble(repository, "verb", VERB)
    graphs.add_ensemble(repository, "stranger", UNKNOWN)
