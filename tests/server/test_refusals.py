"""Every model that cannot be served is refused at load, each with its own reason."""

import subprocess
import sys
from pathlib import Path

import pytest
from fovea_server import EmbeddedServer, ModelLoadError

import fovea

from . import graphs
from .conftest import parameter

pytestmark = pytest.mark.server

INPUTS, OUTPUTS = graphs.LINEAR_INPUTS, graphs.LINEAR_OUTPUTS


OPENVINO_PRECISION = 'parameters { key: "precision" value: "fp12" }'


def accelerator(kind, name, parameters=""):
    entry = f'{kind}: [{{ name: "{name}" {parameters} }}]'
    return f"optimization {{ execution_accelerators {{ {entry} }} }}"


CONFIGS = {
    "input_dims": graphs.config(["x FP32 5"], OUTPUTS),
    "input_rank": graphs.config(["x FP32 4,1"], OUTPUTS),
    "output_dims": graphs.config(INPUTS, ["y FP32 -1"]),
    "input_type": graphs.config(["x FP64 4"], OUTPUTS),
    "output_type": graphs.config(INPUTS, ["y INT64 3"]),
    "unknown_input": graphs.config([*INPUTS, "v FP32 4"], OUTPUTS),
    "unknown_output": graphs.config(INPUTS, ["q FP32 3"]),
    "optional_input": graphs.config(["x FP32 4 optional: true"], OUTPUTS),
    "unknown_mode": graphs.config(INPUTS, OUTPUTS, extra=parameter("execution_mode", 7)),
    "no_number": graphs.config(INPUTS, OUTPUTS, extra=parameter("intra_op_thread_count", "two")),
    "openvino": graphs.config(
        INPUTS,
        OUTPUTS,
        extra=accelerator("cpu_execution_accelerator", "openvino", OPENVINO_PRECISION),
    ),
    "openvino_dims": graphs.config(
        ["x FP32 5"], OUTPUTS, extra=accelerator("cpu_execution_accelerator", "openvino")
    ),
    "openvino_output": graphs.config(
        INPUTS, ["q FP32 3"], extra=accelerator("cpu_execution_accelerator", "openvino")
    ),
    "unknown_accelerator": graphs.config(
        INPUTS, OUTPUTS, extra=accelerator("cpu_execution_accelerator", "abacus")
    ),
}
REASONS = {
    "input_dims": "input 'x': the configuration says shape [-1, 5] (with the batch axis), "
    "the graph has [-1, 4]",
    "input_rank": "input 'x': the configuration says shape [-1, 4, 1] (with the batch axis), "
    "the graph has [-1, 4]",
    "output_dims": "output 'y': the configuration says shape [-1, -1] (with the batch axis), "
    "the graph has [-1, 3]",
    "input_type": "input 'x': the configuration says TYPE_FP64, the graph has TYPE_FP32",
    "output_type": "output 'y': the configuration says TYPE_INT64, the graph has TYPE_FP32",
    "unknown_input": "the configuration has an input 'v', the graph's inputs are x",
    "unknown_output": "the configuration has an output 'q', the graph's outputs are y, z",
    "optional_input": "input 'x' is optional, which is not supported with max_batch_size > 0",
    "unknown_mode": "parameter 'execution_mode' is 7, expected 0 (sequential) or 1 (parallel)",
    "no_number": "parameter 'intra_op_thread_count' is 'two', expected an integer",
    "openvino": "precision is 'fp12', expected one of fp32, bf16",
    "openvino_dims": "input 'x': the configuration says shape [-1, 5] (with the batch axis), "
    "the graph has [-1, 4]",
    "openvino_output": "the configuration has an output 'q', the graph's outputs are y, z",
    "unknown_accelerator": "unknown cpu_execution_accelerator 'abacus', expected 'openvino'",
    "fixed_batch": "input 'x': max_batch_size > 0 needs a free first dimension, "
    "the graph has [2, 4]",
    "too_few_inputs": "the configuration has 1 inputs, the graph needs 13; missing: in_BOOL",
    "no_file": "model.onnx does not exist",
    "broken_file": "onnxruntime cannot open",
    "no_config": "config.pbtxt",
}


@pytest.fixture(scope="module")
def reasons(tmp_path_factory, options):
    repository = tmp_path_factory.mktemp("refused")
    for name, text in CONFIGS.items():
        graphs.add_onnx(repository, name, graphs.linear(), text)
    plain = graphs.config(INPUTS, OUTPUTS)
    graphs.add_onnx(repository, "fixed_batch", graphs.linear(batch=2), plain)
    graphs.add_onnx(
        repository,
        "too_few_inputs",
        graphs.every_type(),
        graphs.config(["in_FP32 FP32 -1"], ["out_FP32 FP32 -1"]),
    )
    graphs.add_linear(repository, "good")
    graphs.add_linear(repository, "no_file", filename="other.onnx")
    graphs.add_linear(repository, "broken_file")
    (repository / "broken_file" / "1" / "model.onnx").write_bytes(b"not a graph")
    (repository / "no_config" / "1").mkdir(parents=True)
    with pytest.raises(ModelLoadError) as raised:
        EmbeddedServer(options(repository)).start()
    assert raised.value.exit_code == 1
    return raised.value.reasons


def test_only_the_refused_models_are_named(reasons):
    assert set(reasons) == set(REASONS)


@pytest.mark.parametrize("model", REASONS)
def test_the_reason_says_what_was_expected_and_what_came(reasons, model):
    assert REASONS[model] in reasons[model]
    if model != "no_config":
        assert f"model '{model}'" in reasons[model]


def test_openvino_is_asked_for_where_it_is_not_installed(tmp_path, options, monkeypatch):
    # Triton's Python ignores PYTHONPATH, but looks into its working directory first.
    (tmp_path / "openvino.py").write_text("raise ImportError('as if not installed')")
    (tmp_path / "fovea").symlink_to(Path(fovea.__file__).parent)
    monkeypatch.chdir(tmp_path)
    extra = accelerator("cpu_execution_accelerator", "openvino")
    graphs.add_linear(tmp_path / "repository", "linear", extra=extra)
    with pytest.raises(ModelLoadError) as raised:
        EmbeddedServer(options(tmp_path / "repository")).start()
    assert (
        "model 'linear': cpu_execution_accelerator 'openvino' needs the package openvino "
        "(pip install 'fovea[openvino]'), or onnxruntime-openvino in place of onnxruntime"
    ) in raised.value.reasons["linear"]


def test_the_command_shows_the_reason_and_not_the_log(tmp_path):
    wrong = graphs.config(["x FP32 5"], OUTPUTS)
    graphs.add_onnx(tmp_path, "wrong", graphs.linear(), wrong)
    graphs.add_ensemble(
        tmp_path,
        "depends",
        """
        platform: "ensemble"
        max_batch_size: 8
        input [{ name: "x" data_type: TYPE_FP32 dims: [5] }]
        output [{ name: "y" data_type: TYPE_FP32 dims: [3] }]
        ensemble_scheduling { step [{
          model_name: "wrong" model_version: -1
          input_map { key: "x" value: "x" }
          output_map { key: "y" value: "y" }
        }] }""",
    )
    ports = ["--grpc-port=0", "--http-port=0", "--metrics-port=0"]
    command = [sys.executable, "-m", "fovea_server", str(tmp_path), *ports]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line]
    assert lines[0].startswith("Starting Triton, log in ")
    assert lines[1] == (
        "Model wrong failed to load: model 'wrong', input 'x': the configuration says shape "
        "[-1, 5] (with the batch axis), the graph has [-1, 4]"
    )
    assert lines[2].startswith("The whole log: ")
    assert len(lines) == 3
