import onnx
import pytest
from fovea_server import EmbeddedServer, ServerOptions

from export import onnx_files
from export.checksums import write_checksums

from . import graphs

BATCHING = "dynamic_batching { max_queue_delay_microseconds: 200000 }"
CACHE = "response_cache { enable: true }"


def parameter(name, value):
    return f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}'


ENSEMBLE = """
platform: "ensemble"
max_batch_size: 8
input [{ name: "x" data_type: TYPE_FP32 dims: [4] }]
output [{ name: "y" data_type: TYPE_FP32 dims: [3] }]
ensemble_scheduling { step [{
  model_name: "cached" model_version: -1
  input_map { key: "x" value: "x" }
  output_map { key: "y" value: "y" }
}] }
"""


@pytest.fixture(scope="session")
def options():
    """Options of a server on free ports that stops quickly."""

    def make(repository, **more):
        defaults = {"grpc_port": 0, "http_port": 0, "metrics_port": 0, "exit_timeout_s": 5}
        return ServerOptions(model_repository=repository, **{**defaults, **more})

    return make


@pytest.fixture(scope="session")
def server(tmp_path_factory, options):
    """One running server with all the models that no test harms."""
    repository = tmp_path_factory.mktemp("repository")
    add_batching_models(repository)
    add_typed_models(repository)
    add_models_with_parameters(repository)
    with EmbeddedServer(options(repository, cache_size_bytes=2**20)) as running:
        yield running


def add_batching_models(repository):
    graphs.add_linear(repository, "linear", extra=BATCHING)
    graphs.add_linear(repository, "cached", extra=CACHE)
    graphs.add_ensemble(repository, "ensemble", ENSEMBLE)
    lookup = graphs.config(["index INT64 1"], ["value FP32 1"], extra=BATCHING)
    graphs.add_onnx(repository, "lookup", graphs.lookup(), lookup)
    unbatched = graphs.config(["x FP32 -1,4"], ["y FP32 -1,3", "z FP32 -1,4"], batch=0)
    graphs.add_onnx(repository, "unbatched", graphs.linear(), unbatched)
    wide = graphs.config(["x FP32 4"], ["y FP32 512"])
    graphs.add_onnx(repository, "weights_beside", graphs.wide(), wide)
    beside = repository / "weights_beside" / "1" / "model.onnx"
    onnx_files.save(onnx.load(str(beside)), beside, embedded_bytes=0)
    write_checksums(repository, ["weights_beside"])  # a file that Triton must not take for a model


def add_typed_models(repository):
    types = graphs.DATA_TYPES
    every = graphs.config([f"in_{t} {t} -1" for t in types], [f"out_{t} {t} -1" for t in types])
    graphs.add_onnx(repository, "every_type", graphs.every_type(), every)
    text = graphs.config(["in STRING -1"], ["out STRING -1"])
    graphs.add_onnx(repository, "text", graphs.text(), text)


def add_models_with_parameters(repository):
    graphs.add_linear(
        repository,
        "one_thread",
        extra=f"""
            default_model_filename: "other.onnx"
            {parameter("intra_op_thread_count", 1)}
            {parameter("enable_mem_arena", 0)}
            {parameter("enable_mem_pattern", 0)}
            {parameter("nobody_knows_this", "x")}
            optimization {{
              graph {{ level: 2 }}
              execution_accelerators {{ gpu_execution_accelerator: [{{ name: "cuda" }}] }}
            }}""",
        filename="other.onnx",
    )
    graphs.add_linear(
        repository,
        "six_threads",
        extra=f"""
            {parameter("intra_op_thread_count", 4)}
            {parameter("inter_op_thread_count", 3)}
            {parameter("memory.enable_memory_arena_shrinkage", "cpu:0")}
            {parameter("execution_mode", 1)}""",
    )
    for precision in ("fp32", "bf16"):
        graphs.add_linear(
            repository,
            f"openvino_{precision}",
            extra=f"""
                {BATCHING}
                {parameter("intra_op_thread_count", 1)}
                optimization {{ execution_accelerators {{ cpu_execution_accelerator: [{{
                  name: "openvino" parameters {{ key: "precision" value: "{precision}" }}
                }}] }} }}""",
        )
