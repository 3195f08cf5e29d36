"""Engines from small networks with TensorRT for RTX, which builds without a GPU."""

import importlib.util
import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from export.engine_parity import Engine, check_engine, read_samples, samples_path, write_samples
from export.engines import ENGINE_MANIFEST, Job, jobs, make
from export.errors import EngineError
from export.lower_precision import lower
from export.profiles import Profile, Shapes, profile
from export.rtx_build import isolated_build
from export.runtimes import RUNTIMES
from export.to_engine import LIBRARIES, build, local_compute_capability, unsupported_nodes
from export.to_onnx import to_onnx

RTX = LIBRARIES["tensorrt_rtx"]
MASK_DECODER = "sam_mask_decoder"
SM = "8.6"
needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt_rtx is not installed: pip install -e '.[engines]'",
)


@pytest.fixture(scope="module")
def built(loaded, tmp_path_factory):
    """SAM's decoder in fp16 with its samples, as an export for engines writes them."""
    folder = tmp_path_factory.mktemp("engines")
    network = next(n for n in loaded.networks if n.spec.name == MASK_DECODER)
    path = folder / f"{MASK_DECODER}.onnx"
    to_onnx(network, path)
    lower(network.policy, path, "fp16")
    write_samples(network, path, samples_path(path))
    limits = RUNTIMES["tensorrt"].limit(loaded.deployment.limits)
    return Job(
        spec=replace(network.spec, tolerance=network.policy.fp16),
        onnx=path,
        plan=folder / "1" / "model.plan",
        profile=profile(network.spec, limits),
        precision="fp16",
        library=RTX,
        compute_capability=SM,
    )


def graph(path, nodes, inputs, outputs):
    made = helper.make_graph(nodes, "small", inputs, outputs)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(made, opset_imports=opset, ir_version=8), str(path))
    return path


@pytest.fixture
def with_nonzero(tmp_path):
    """A graph with an operator that TensorRT for RTX refuses."""
    nodes = [
        helper.make_node("Relu", ["x"], ["y"], name="/Relu"),
        helper.make_node("NonZero", ["y"], ["z"], name="/head/NonZero"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    z = helper.make_tensor_value_info("z", TensorProto.INT64, [2, "m"])
    return graph(tmp_path / "nonzero.onnx", nodes, [x], [z])


X = Profile((("x", Shapes((1, 4), (2, 4), (8, 4))),))


@needs_rtx
def test_an_engine_is_built_again_only_when_something_changed(built, tmp_path):
    job = replace(built, plan=tmp_path / "1" / "model.plan")
    first = make(job)
    assert not first["reused"]
    assert first["bytes"] == job.plan.stat().st_size > 0
    assert json.loads(job.manifest.read_text())["compute_capability"] == SM
    assert job.manifest.name == ENGINE_MANIFEST
    assert make(job)["reused"]
    assert job.key() != replace(job, compute_capability="8.9").key()
    assert job.key() != replace(job, precision="fp32").key()
    assert job.key() != replace(job, profile=X).key()
    job.plan.write_bytes(job.plan.read_bytes()[:-1])
    assert not make(job)["reused"]


@needs_rtx
def test_every_node_of_the_decoder_is_supported(built):
    assert unsupported_nodes(built.onnx, RTX) == []


@needs_rtx
def test_a_build_in_its_own_process_says_the_same(built):
    outcome = isolated_build(built.onnx, built.profile, "12.0")
    assert outcome.built and outcome.unsupported == [] and outcome.error == ""


@needs_rtx
def test_an_unsupported_node_is_named_and_stops_the_build(with_nonzero):
    assert unsupported_nodes(with_nonzero, RTX) == ["/head/NonZero (NonZero)"]
    with pytest.raises(EngineError, match=r"nonzero\.onnx: tensorrt_rtx cannot"):
        build(with_nonzero, X, RTX, SM)


@needs_rtx
def test_an_unknown_target_is_refused_with_a_list_of_known_ones(built):
    with pytest.raises(EngineError, match=r"expected one of .*SM86.*got compute capability SM90"):
        build(built.onnx, built.profile, RTX, "9.0")


@needs_rtx
def test_a_profile_for_other_inputs_is_refused(built):
    with pytest.raises(EngineError, match="the graph has"):
        build(built.onnx, X, RTX, SM)


def test_samples_hold_every_variant_with_its_answers(built):
    samples = read_samples(built.onnx)
    assert set(samples) == {(batch, variant) for batch in (1, 2) for variant in range(3)}
    names = {tensor.name for tensor in (*built.spec.inputs, *built.spec.outputs)}
    assert all(set(sample) == names for sample in samples.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_parity_is_skipped_and_says_so(built):
    assert local_compute_capability() is None
    skipped = check_engine(b"", built.spec, built.onnx, RTX, SM)
    assert skipped == {"skipped": "no CUDA device"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_an_engine_answers_as_its_network_does(built):
    job = replace(built, compute_capability=local_compute_capability())
    plan = build(job.onnx, job.profile, job.library, job.compute_capability)
    sample = read_samples(job.onnx)[1, 0]
    got = Engine(plan, RTX).run({t.name: sample[t.name] for t in job.spec.inputs})
    assert np.isfinite(got["low_res_masks"]).all()
    assert "worst" in check_engine(plan, job.spec, job.onnx, RTX, job.compute_capability)


def test_a_folder_that_is_no_export_for_engines_is_refused(tmp_path):
    with pytest.raises(EngineError, match="--runtime tensorrt"):
        jobs(tmp_path, RTX, SM)
