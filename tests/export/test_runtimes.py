"""The same repository for every runtime: only how the five networks run differs."""

import json
from dataclasses import replace

import openvino
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from export.deployments import Export, read_deployment, run
from export.families import policies
from export.precision import PRECISIONS
from export.production import production_deployment
from export.profiles import profile
from export.repository import write_repository
from export.runtimes import RUNTIMES, Runtime, cpu_runtime
from fovea.deployment import Deployment
from fovea.house import wire
from tests.deployments import TINY, embeds_only

NETWORKS = [network.name for network in wire(TINY).networks]
POLICIES = policies(TINY)


def configs(folder):
    paths = sorted(folder.glob("*/config.pbtxt"))
    return {p.parent.name: text_format.Parse(p.read_text(), pb.ModelConfig()) for p in paths}


def limited(deployment: Deployment, runtime: Runtime) -> Deployment:
    """The deployment in an export for this runtime."""
    return replace(deployment, limits=runtime.limit(deployment.limits))


@pytest.fixture(params=[name for name in RUNTIMES if name != "onnxruntime"])
def both(request, tmp_path):
    """The configs of the plain repository and of another runtime."""
    runtime = RUNTIMES[request.param]
    deployment = limited(TINY, runtime)
    write_repository(tmp_path / "plain", deployment)
    write_repository(tmp_path / "other", deployment, runtime, runtime.precisions[-1])
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


# Trained members: random weights rank their queries by chance, and rounding decides it.
DEMO = read_deployment("demo")
# The last has a network of each kind: in bf16-int8, in bf16 and in fp32.
OPENVINO = {"fp32": embeds_only(DEMO), "bf16": embeds_only(DEMO), "bf16-int8": DEMO}


@pytest.mark.parametrize("precision", RUNTIMES["onnxruntime-openvino"].precisions)
def test_an_export_for_openvino_is_checked_on_openvino(members, tmp_path, precision):
    runtime = RUNTIMES["onnxruntime-openvino"]
    export = Export(
        OPENVINO[precision],
        tmp_path,
        precision=precision,
        runtime=runtime,
        max_batch=2,
        members=members,
    )
    manifest = run(export)
    records = {record["name"]: record for record in manifest["networks"]}
    assert {name: r["precision"] for name, r in records.items()} == {
        name: POLICIES[name].takes(precision) for name in records
    }
    worst = {name: max(p["difference"] for p in r["parity"]) for name, r in records.items()}
    for name, record in records.items():
        assert worst[name] <= record["tolerance"]["difference"]
        # If the processor has bf16, its effect shows that the answers are really OpenVINO's.
        if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            assert (worst[name] > 1e-4) == (record["precision"] != "fp32"), (name, worst[name])


def test_some_runtime_runs_each_precision_on_a_cpu():
    chosen = {precision: cpu_runtime(precision).name for precision in PRECISIONS}
    assert {chosen.pop("bf16"), chosen.pop("bf16-int8")} == {"onnxruntime-openvino"}
    assert set(chosen.values()) == {"onnxruntime"}


def test_the_tensorrt_provider_gets_every_shape(tmp_path):
    write_repository(tmp_path, TINY, RUNTIMES["onnxruntime-tensorrt"], "fp16")
    config = configs(tmp_path)["grounding_dino"]
    accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator[0]
    assert accelerator.parameters["precision_mode"] == "FP16"
    assert accelerator.parameters["trt_profile_max_shapes"] == (
        "pixel_values:8x3x64x64,valid_hw:8x2,input_ids:8x32,attention_mask:8x32,"
        "position_ids:8x32,text_self_attention_masks:8x32x32"
    )


def test_profiles_cover_every_batch_bucket_and_prompt():
    deployment = limited(production_deployment(), RUNTIMES["tensorrt"])
    limits = deployment.limits
    by_name = {network.name: network for network in wire(deployment).networks}
    text = dict(profile(by_name["grounding_dino"], limits).shapes)
    assert text["text_self_attention_masks"] == ((1, 16, 16), (4, 32, 32), (8, 256, 256))
    prompts = dict(profile(by_name["sam_mask_decoder"], limits).shapes)
    assert prompts["point_coords"] == ((1, 1, 2, 2), (4, 1, 2, 2), (8, 32, 17, 2))
    assert prompts["point_labels"] == ((1, 1, 2), (4, 1, 2), (8, 32, 17))
    assert prompts["image_embeddings"].max == (8, 256, 64, 64)
    assert prompts["original_size_hw"] == ((1, 2), (4, 2), (8, 2))
    image = dict(profile(by_name["clip_image_encoder"], limits).shapes)
    assert image["pixel_values"].max == (16, 3, 224, 224)


def test_prompts_that_an_engine_does_not_take_are_refused_by_the_steps(tmp_path):
    runtime = RUNTIMES["tensorrt"]
    deployment = limited(production_deployment(), runtime)
    write_repository(tmp_path, deployment, runtime)
    found = configs(tmp_path)
    for step in wire(deployment).steps:
        limits = found[step.model.name].parameters["limits"]
        assert json.loads(limits.string_value)["prompts"] == runtime.max_prompts == 32
    boxes = found["grounding_dino_select_boxes"].parameters["max_boxes"]
    assert json.loads(boxes.string_value) == 32


def test_an_export_for_engines_keeps_the_graphs_beside_the_repository(
    deployment, members, tmp_path
):
    runtime = RUNTIMES["tensorrt"]
    export = Export(
        deployment, tmp_path, precision="fp16", runtime=runtime, max_batch=1, members=members
    )
    manifest = run(export)
    for name in NETWORKS:
        files = {path.name for path in (tmp_path / "onnx" / name).iterdir()}
        assert files == {"model.onnx", "model.samples.npz"}
    assert {path.name for path in (tmp_path / "onnx").iterdir()} == set(NETWORKS)
    assert not [*export.repository.rglob("*.onnx")]
    assert manifest["request"]["precision"] == "fp16"
    assert manifest["request"]["runtime"] == "tensorrt"
    assert manifest["request"]["grid_sample"] == "gather"
    for record in manifest["networks"]:
        assert record["precision"] == "fp16"
        assert all(p["difference"] <= record["tolerance"]["difference"] for p in record["parity"])
