"""`ArrayModel` with tensors on a GPU, around the test's own Triton module."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from fovea.array_model import ArrayModel
from fovea.house import wire
from fovea.limits import Limits
from fovea.models import CPU_ONLY_INPUTS
from fovea.specs import to_json
from fovea.steps.base import Step
from tests.deployments import TINY


class Tensor:
    """Triton's tensor: numpy cannot read one on a GPU."""

    def __init__(self, name, array, on_gpu=False):
        self._name, self._array, self._on_gpu = name, array, on_gpu

    def name(self):
        return self._name

    def is_cpu(self):
        return not self._on_gpu

    def as_numpy(self):
        if self._on_gpu:
            raise RuntimeError("Tensor is stored in GPU and cannot be converted to NumPy")
        return self._array


class Network:
    """A BLS request to a network on a GPU: its answer stays there unless the CPU is preferred."""

    def __init__(self, *, model_name, inputs, requested_output_names, preferred_memory=None):
        self._inputs, self._outputs = inputs, requested_output_names
        self._on_gpu = preferred_memory != ("cpu", 0)

    def exec(self):
        doubled = 2 * self._inputs[0].as_numpy()
        tensors = [Tensor(name, doubled, self._on_gpu) for name in self._outputs]
        return SimpleNamespace(has_error=lambda: False, tensors=tensors)


class Request:
    """A request to a step, with one tensor x."""

    def __init__(self, x):
        self.tensors = [Tensor("x", np.array([[x]], np.float32))]

    def requested_output_names(self):
        return ["y"]

    def timeout(self):
        return 0


def find(holder, name):
    return next((tensor for tensor in holder.tensors if tensor.name() == name), None)


class Family:
    """A family of metrics that nobody reads."""

    COUNTER = "counter"

    def __init__(self, **about):
        pass

    def Metric(self, labels):  # noqa: N802 - Triton's name
        return SimpleNamespace(increment=lambda amount: None)


@pytest.fixture(autouse=True)
def triton(monkeypatch):
    module = ModuleType("triton_python_backend_utils")
    module.TRITONSERVER_MEMORY_CPU = "cpu"
    module.PreferredMemory = lambda kind, device: (kind, device)
    module.InferenceRequest = Network
    module.InferenceResponse = lambda tensors=(), error=None: SimpleNamespace(
        tensors=list(tensors), error=error
    )
    module.TritonError = lambda message, code=None: message
    module.Tensor = Tensor
    module.MetricFamily = Family
    module.serialize_byte_tensor = lambda array: b"".join(array.ravel().tolist())
    module.get_input_tensor_by_name = module.get_output_tensor_by_name = find
    monkeypatch.setitem(sys.modules, module.__name__, module)


class Doubling(Step):
    def run(self, inputs, wanted):
        return {"y": self.context.call_model("network", {"x": inputs["x"][None]}, ["y"])["y"][0]}


class Model(ArrayModel):
    step_type = Doubling


def test_a_step_reads_the_answer_of_a_network_on_a_gpu():
    model = Model()
    config = {
        "name": "doubling",
        "max_batch_size": 8,
        "input": [{"name": "x"}],
        "parameters": {
            "limits": {"string_value": to_json(Limits())},
            "members": {"string_value": "[]"},
        },
    }
    place = {"model_repository": "/models/doubling", "model_version": "1"}
    model.initialize({"model_config": json.dumps(config), **place})
    (answer,) = model.execute([Request(3)])
    model.finalize()
    assert answer.error is None
    assert find(answer, "y").as_numpy().tolist() == [[6]]


def test_every_step_gets_a_networks_gpu_output_in_cpu_memory():
    for step in wire(TINY).steps:
        assert dict(step.model.parameters)[CPU_ONLY_INPUTS] == "yes"
