"""The same repository for every runtime: only how the five networks run differs."""

import json

import openvino
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from export.checkpoints import SETS, find
from export.pipeline import Export, run
from export.precision import POLICIES, PRECISIONS
from export.production import production_pipeline
from export.profiles import profile
from export.repository import write_repository
from export.runtimes import RUNTIMES, cpu_runtime
from fovea.pipeline import networks
from tests.pipelines import TINY

NETWORKS = [network.name for network in networks(TINY)]


def configs(folder):
    paths = sorted(folder.glob("*/config.pbtxt"))
    return {p.parent.name: text_format.Parse(p.read_text(), pb.ModelConfig()) for p in paths}


@pytest.fixture(params=[name for name in RUNTIMES if name != "onnxruntime"])
def both(request, tmp_path):
    """The plain repository's configs and those of another runtime."""
    runtime = RUNTIMES[request.param]
    pipeline = runtime.limit(TINY)
    write_repository(tmp_path / "plain", pipeline)
    write_repository(tmp_path / "other", pipeline, runtime, runtime.precisions[-1])
    return configs(tmp_path / "plain"), configs(tmp_path / "other"), runtime


def test_names_shapes_ensembles_and_steps_are_the_same(both):
    plain, other, _ = both
    assert list(plain) == list(other)
    for name, config in other.items():
        if name not in NETWORKS:
            assert config == plain[name]
        assert list(config.input) == list(plain[name].input)
        assert list(config.output) == list(plain[name].output)
        assert config.max_batch_size == plain[name].max_batch_size
        assert config.dynamic_batching == plain[name].dynamic_batching


def test_networks_run_on_the_gpu_with_the_backend_of_the_runtime(both):
    _, other, runtime = both
    if runtime.instance_kind != "KIND_GPU":
        pytest.skip(f"{runtime.name} is for CPUs")
    for name in NETWORKS:
        config = other[name]
        assert config.instance_group[0].kind == pb.ModelInstanceGroup.KIND_GPU
        assert config.backend == ("tensorrt" if runtime.name == "tensorrt" else "onnxruntime")
        assert (config.platform == "tensorrt_plan") == (runtime.name == "tensorrt")
        accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
        expected = [runtime.accelerator] if runtime.accelerator else []
        assert [accelerator.name for accelerator in accelerators] == expected


def accelerators(config):
    return config.optimization.execution_accelerators.cpu_execution_accelerator


def test_openvino_runs_each_network_in_what_its_policy_says(tmp_path):
    write_repository(tmp_path, TINY, RUNTIMES["onnxruntime-openvino"], "bf16")
    for name, config in configs(tmp_path).items():
        if name not in NETWORKS:
            assert not accelerators(config)
            continue
        (accelerator,) = accelerators(config)
        assert accelerator.name == "openvino"
        expected = "bf16" if POLICIES[name].bf16 else "fp32"
        assert dict(accelerator.parameters) == {"precision": expected}
        assert config.instance_group[0].kind == pb.ModelInstanceGroup.KIND_CPU
    assert {policy.takes("bf16") for policy in POLICIES.values()} == {"bf16", "fp32"}


@pytest.mark.parametrize("precision", RUNTIMES["onnxruntime-openvino"].precisions)
def test_an_export_for_openvino_is_checked_on_openvino(tmp_path, precision):
    runtime = RUNTIMES["onnxruntime-openvino"]
    # Trained ones: how random weights rank their queries is chance, and rounding decides it.
    checkpoints = {family: find(family, source) for family, source in SETS["demo"].items()}
    manifest = run(Export(checkpoints, tmp_path, precision=precision, runtime=runtime, max_batch=2))
    records = {record["name"]: record for record in manifest["networks"]}
    assert {name: r["precision"] for name, r in records.items()} == {
        name: POLICIES[name].takes(precision) for name in NETWORKS
    }
    worst = {name: max(p["difference"] for p in r["parity"]) for name, r in records.items()}
    for name, record in records.items():
        assert worst[name] <= record["tolerance"]["difference"]
        # What bf16 changes shows, where the processor has it: the answers are really OpenVINO's.
        if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            assert (worst[name] > 1e-4) == (record["precision"] != "fp32"), (name, worst[name])


def test_the_cpu_runs_every_precision_on_some_runtime():
    chosen = {precision: cpu_runtime(precision).name for precision in PRECISIONS}
    assert {chosen.pop("bf16"), chosen.pop("bf16-int8")} == {"onnxruntime-openvino"}
    assert set(chosen.values()) == {"onnxruntime"}


def test_the_tensorrt_provider_is_told_every_shape(tmp_path):
    write_repository(tmp_path, TINY, RUNTIMES["onnxruntime-tensorrt"], "fp16")
    config = configs(tmp_path)["grounding_dino"]
    accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator[0]
    assert accelerator.parameters["precision_mode"] == "FP16"
    assert accelerator.parameters["trt_profile_max_shapes"] == (
        "pixel_values:8x3x64x64,valid_hw:8x2,input_ids:8x32,attention_mask:8x32,"
        "position_ids:8x32,text_self_attention_masks:8x32x32"
    )


def test_profiles_cover_every_batch_bucket_and_prompt():
    pipeline = RUNTIMES["tensorrt"].limit(production_pipeline())
    by_name = {network.name: network for network in networks(pipeline)}
    text = dict(profile(by_name["grounding_dino"], pipeline).shapes)
    assert text["text_self_attention_masks"] == ((1, 16, 16), (4, 32, 32), (8, 256, 256))
    prompts = dict(profile(by_name["sam_mask_decoder"], pipeline).shapes)
    assert prompts["point_coords"] == ((1, 1, 2, 2), (4, 1, 2, 2), (8, 32, 17, 2))
    assert prompts["image_embeddings"].max == (8, 256, 64, 64)
    image = dict(profile(by_name["clip_image_encoder"], pipeline).shapes)
    assert image["pixel_values"].max == (16, 3, 224, 224)


def test_prompts_that_an_engine_does_not_take_are_refused_by_the_steps(tmp_path):
    runtime = RUNTIMES["tensorrt"]
    write_repository(tmp_path, runtime.limit(production_pipeline()), runtime)
    parameters = configs(tmp_path)["select_masks"].parameters["pipeline"]
    assert json.loads(parameters.string_value)["limits"]["prompts"] == runtime.max_prompts == 32


def test_an_export_for_engines_keeps_the_graphs_beside_the_repository(checkpoints, tmp_path):
    runtime = RUNTIMES["tensorrt"]
    export = Export(checkpoints, tmp_path, precision="fp16", runtime=runtime, max_batch=1)
    manifest = run(export)
    for suffix in (".onnx", ".samples.npz"):
        names = {path.name for path in (tmp_path / "onnx").glob(f"*{suffix}")}
        assert names == {f"{name}{suffix}" for name in NETWORKS}
    assert not [*export.repository.rglob("*.onnx")]
    assert manifest["request"]["precision"] == "fp16"
    assert manifest["request"]["runtime"] == "tensorrt"
    assert manifest["request"]["grid_sample"] == "gather"
    for record in manifest["networks"]:
        assert record["precision"] == "fp16"
        assert all(p["difference"] <= record["tolerance"]["difference"] for p in record["parity"])
