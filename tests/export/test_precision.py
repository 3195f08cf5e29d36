"""The policy holds in the graphs: kept layers stay fp32, directly connected, and agree."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import parity
from export.deployments import Export, read_deployment
from export.errors import ExportError, ParityError, UnsupportedPrecision
from export.families import policies
from export.grid_sample import FORMS
from export.lower_precision import check_range, lower, precisions
from export.machine import int8_saturates
from export.runtimes import RUNTIMES
from export.to_onnx import to_onnx
from fovea.deployment_file import Serving
from tests.deployments import TINY

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
POLICIES = policies(TINY)
NAMES = tuple(POLICIES)
IMAGE_ENCODER = "clip_image_encoder"


def network(loaded, name):
    return next(n for n in loaded.networks if n.spec.name == name)


@pytest.fixture(scope="module")
def graphs(loaded, tmp_path_factory):
    """Each network in fp32, once; GroundingDINO in both forms of sampling."""
    folder = tmp_path_factory.mktemp("graphs")
    for item in loaded.networks:
        for form in FORMS if item.spec.name == "grounding_dino" else FORMS[:1]:
            to_onnx(item, folder / f"{item.spec.name}-{form}.onnx", grid_sample=form)
    return folder


@pytest.fixture(scope="module")
def halves(graphs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("halves")
    for source in graphs.iterdir():
        path = folder / source.name
        path.write_bytes(source.read_bytes())
        assert lower(POLICIES[source.stem.rsplit("-", 1)[0]], path, "fp16") == "fp16"
    return folder


def types_of(path):
    """The element type of every tensor that shape inference knows, and of the initializers."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    graph = model.graph
    values = (*graph.input, *graph.output, *graph.value_info)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    return graph, types | {i.name: i.data_type for i in graph.initializer}


def stems(folder):
    return sorted(path.stem for path in folder.iterdir())


def test_every_network_has_a_policy(loaded):
    assert {n.spec.name: n.policy for n in loaded.networks} == POLICIES


def test_kept_layers_compute_in_fp32_and_the_rest_in_fp16(halves):
    for stem in stems(halves):
        policy = POLICIES[stem.rsplit("-", 1)[0]]
        graph, types = types_of(halves / f"{stem}.onnx")
        lowered = 0
        for node in graph.node:
            floats = {types.get(name) for name in (*node.input, *node.output)} & {FLOAT, HALF}
            if node.op_type in ("Cast", "Identity") or not floats:
                continue
            expected = FLOAT if policy.keeps(node.op_type, node.name) else HALF
            assert floats == {expected}, (stem, node.name, node.op_type)
            lowered += expected == HALF
        assert lowered > 20, stem


@pytest.mark.parametrize("operator", ["LayerNormalization", "Softmax", "GridSample", "TopK"])
def test_the_named_operators_are_fp32_wherever_they_are(halves, operator):
    found = 0
    for stem in stems(halves):
        graph, types = types_of(halves / f"{stem}.onnx")
        for node in graph.node:
            if node.op_type == operator:
                found += 1
                assert types[node.input[0]] == types[node.output[0]] == FLOAT
    assert found


def test_no_number_is_rounded_to_half_between_two_kept_layers(halves):
    for stem in stems(halves):
        graph = onnx.load(str(halves / f"{stem}.onnx")).graph
        to = {n.output[0]: n.attribute[0].i for n in graph.node if n.op_type == "Cast"}
        for node in graph.node:
            if node.op_type == "Cast" and to[node.output[0]] == FLOAT:
                assert to.get(node.input[0]) != HALF, (stem, node.name)


def test_names_types_and_shapes_stay(graphs, halves):
    for stem in stems(halves):
        before, after = (
            onnx.load(str(folder / f"{stem}.onnx")).graph for folder in (graphs, halves)
        )
        assert list(before.input) == list(after.input)
        assert list(before.output) == list(after.output)


@pytest.mark.parametrize("name", NAMES)
def test_fp16_is_within_its_tolerance(loaded, halves, name):
    item = network(loaded, name)
    tolerance = POLICIES[name].tolerance("fp16", item.spec.tolerance)
    checked = replace(item, spec=replace(item.spec, tolerance=tolerance))
    path = halves / f"{name}-native.onnx"
    found = parity.check_network(checked, path, max_batch=2)
    if tolerance.rows == 1:  # otherwise some rows may differ, and the cosine says nothing
        assert all(a.cosine > 0.99 for a in found)
    assert precisions(path)["FLOAT16"] > precisions(path).get("FLOAT", 0)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "grounding_dino"])
def test_int8_is_within_its_tolerance_and_the_decoder_stays(loaded, graphs, tmp_path, name):
    item, path = network(loaded, name), tmp_path / "model.onnx"
    path.write_bytes((graphs / f"{name}-native.onnx").read_bytes())
    precision = lower(POLICIES[name], path, "int8")
    assert precision == ("fp32" if name.endswith("_decoder") else "int8")
    assert ("INT8" in precisions(path)) == (precision == "int8")
    tolerance = POLICIES[name].tolerance(precision, item.spec.tolerance)
    if int8_saturates():
        pytest.skip("ONNX Runtime's int8 products saturate on this processor, which has no VNNI")
    checked = replace(item, spec=replace(item.spec, tolerance=tolerance))
    assert parity.check_network(checked, path, max_batch=2)


@pytest.mark.parametrize("name", NAMES)
def test_bf16_int8_has_int8_weights_where_the_policy_says(loaded, graphs, tmp_path, name):
    item, path = network(loaded, name), tmp_path / "model.onnx"
    path.write_bytes((graphs / f"{name}-native.onnx").read_bytes())
    precision = lower(POLICIES[name], path, "bf16-int8")
    nodes = onnx.load(str(path)).graph.node
    restored = {n.output[0] for n in nodes if n.op_type == "DequantizeLinear"}
    chosen = [n.name for n in nodes if n.op_type == "MatMul" and n.input[1] in restored]
    assert bool(chosen) == (precision == "bf16-int8") == bool(POLICIES[name].grouped)
    assert all(POLICIES[name].quantizes(node, precision) for node in chosen)
    # ONNX Runtime computes with the rounded weights, so only rounding shows.
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    if item.spec.tolerance.rows < 1:
        return  # Random weights rank their rows by chance: see test_runtimes for trained ones.
    sample, outputs = item.sample(2, 1), [tensor.name for tensor in item.spec.outputs]
    expected = parity.run_torch(item, sample)
    for output, got in zip(outputs, session.run(outputs, sample), strict=True):
        assert np.corrcoef(got.ravel(), expected[output].ravel())[0, 1] > 0.99


def test_int8_of_grounding_dino_takes_the_backbones_only(graphs, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes((graphs / "grounding_dino-native.onnx").read_bytes())
    lower(POLICIES["grounding_dino"], path, "int8")
    onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    products = [n.name for n in onnx.load(str(path)).graph.node if n.op_type == "MatMulInteger"]
    assert products
    assert all("backbone" in name for name in products)


def test_an_overflow_is_found_before_a_gpu_meets_it(loaded, graphs, tmp_path):
    item, policy = network(loaded, IMAGE_ENCODER), POLICIES[IMAGE_ENCODER]
    source = graphs / f"{IMAGE_ENCODER}-native.onnx"
    assert check_range(IMAGE_ENCODER, policy, source, item.sample(1, 0)) < 65504
    model = onnx.load(str(source))
    weight = next(i for i in model.graph.initializer if "patch_embedding" in i.name)
    huge = numpy_helper.to_array(weight) * np.float32(1e6)
    weight.CopyFrom(numpy_helper.from_array(huge, weight.name))
    path = tmp_path / "model.onnx"
    onnx.save(model, str(path))
    with pytest.raises(ParityError, match=r"patch_embedding.* above fp16's 65504"):
        check_range(IMAGE_ENCODER, policy, path, item.sample(1, 0))


def test_a_weight_that_both_kinds_use_keeps_its_precision_for_the_kept(tmp_path):
    """/head/Add is lowered, /Mul is kept: both take `w`, which half cannot hold exactly."""
    w = numpy_helper.from_array(np.array([1.0001], np.float32), "w")
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["y"], name="/Mul"),
        helper.make_node("Add", ["x", "w"], ["z"], name="/head/Add"),
    ]
    values = [helper.make_tensor_value_info(name, FLOAT, [1]) for name in "xyz"]
    graph = helper.make_graph(nodes, "shared", values[:1], values[1:], [w])
    path = tmp_path / "model.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    lower(POLICIES[IMAGE_ENCODER], path, "fp16")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    y, z = session.run(None, {"x": np.ones(1, np.float32)})
    assert y == np.float32(1.0001)
    assert z == 2.0


@pytest.mark.parametrize("runtime", ["tensorrt", "onnxruntime-tensorrt", "onnxruntime-cuda"])
def test_int8_is_for_cpus(runtime, tmp_path):
    with pytest.raises(UnsupportedPrecision, match=f"runtime {runtime} runs fp32, fp16, got int8"):
        Export(read_deployment("demo"), tmp_path, precision="int8", runtime=RUNTIMES[runtime])


@pytest.mark.parametrize(
    ("serving", "message"),
    [
        (Serving("tensorrt", "int8"), "runtime tensorrt runs fp32, fp16, got int8"),
        (Serving("tensorflow", "fp32"), "expected a runtime of onnxruntime, .*, got 'tensorflow'"),
        (Serving("onnxruntime", "fp64"), "expected a precision of fp32, .*, got 'fp64'"),
    ],
)
def test_a_deployments_serving_settings_are_checked_as_well(serving, message, tmp_path):
    deployment = replace(read_deployment("demo"), serving=serving)
    with pytest.raises(ExportError, match=message):
        Export(deployment, tmp_path)


def test_the_command_line_overrides_a_deployments_serving_settings(tmp_path):
    deployment = replace(read_deployment("demo"), serving=Serving("tensorrt", "fp16"))
    form = Export(deployment, tmp_path).form
    assert (form.runtime, form.precision) == (RUNTIMES["tensorrt"], "fp16")
    asked = Export(deployment, tmp_path, precision="int8", runtime=RUNTIMES["onnxruntime"]).form
    assert (asked.runtime, asked.precision) == (RUNTIMES["onnxruntime"], "int8")
