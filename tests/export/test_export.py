"""An export writes what the specs say, and stops if a network does not."""

import json
import os
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import onnx
import pytest
from fovea_server.errors import RepositoryError
from fovea_server.repository import verify
from google.protobuf import text_format
from onnx import numpy_helper
from tritonclient.grpc import model_config_pb2 as pb

from export import parity
from export.checkpoints import find
from export.deployments import Export, run
from export.engines import record_files
from export.errors import CheckpointUnavailable, InvalidCheckpoint, ParityError
from export.repository import onnx_path, plan_path
from export.to_onnx import to_onnx
from fovea.checksums import CHECKSUMS, read_list
from fovea.layout import MANIFEST, REPOSITORY
from fovea.machine_settings import MachineSettings
from fovea.manifest import deployment_of
from fovea.members import Source
from fovea.specs import TensorSpec


def network(loaded, name):
    return next(n for n in loaded.networks if n.spec.name == name)


@pytest.fixture(scope="module")
def exported(deployment, members, tmp_path_factory):
    export = Export(deployment, tmp_path_factory.mktemp("export"), members=members)
    return export, run(export)


def test_every_network_is_within_its_tolerance(exported, loaded):
    _, manifest = exported
    tolerances = {n.spec.name: n.spec.tolerance for n in loaded.networks}
    assert [record["name"] for record in manifest["networks"]] == list(tolerances)
    for record in manifest["networks"]:
        for agreement in record["parity"]:
            assert agreement["difference"] <= tolerances[record["name"]].difference
            assert agreement["cosine"] > 0.9999


def test_the_graphs_state_names_dtypes_and_axes_of_the_specs(exported, loaded):
    export, _ = exported
    for item in loaded.networks:
        graph = onnx.load(str(onnx_path(export.repository, item.spec.name))).graph
        for values, tensors in ((graph.input, item.spec.inputs), (graph.output, item.spec.outputs)):
            for value, tensor in zip(values, tensors, strict=True):
                assert value.name == tensor.name
                dims = value.type.tensor_type.shape.dim
                edges = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims]
                assert edges == [-1, *tensor.shape]


def test_no_graph_branches_or_loops(exported, loaded):
    """Lowering moves nodes, engines fix shapes: neither looks into nested graphs."""
    export, _ = exported
    for item in loaded.networks:
        graph = onnx.load(str(onnx_path(export.repository, item.spec.name))).graph
        assert not {node.op_type for node in graph.node} & {"If", "Loop", "Scan"}


def test_the_manifest_records_where_everything_came_from(exported, checkpoints):
    export, manifest = exported
    request = manifest["request"]
    assert set(request["versions"]) == {"fovea"}
    assert (request["runtime"], request["precision"]) == ("onnxruntime", "fp32")
    deployment = deployment_of(manifest)
    for name, checkpoint in checkpoints.items():
        record = request["checkpoints"][name]
        assert record["source"] == str(checkpoint.folder)
        assert record["sha256"] == checkpoint.sha256()
        assert record["opset"] == 17
        assert set(record["versions"]) == {"torch", "transformers", "onnx", "onnxruntime"}
        assert record["fingerprint"] == deployment.member(name).fingerprint != ""
    assert json.loads((export.out / "manifest.json").read_text()) == manifest


def test_the_manifest_holds_the_deployment_that_is_served(exported, loaded):
    _, manifest = exported
    deployment = deployment_of(manifest)
    members = tuple(replace(member, fingerprint="") for member in deployment.members)
    assert replace(deployment, members=members) == loaded.deployment


def test_an_unchanged_export_is_not_done_again_and_a_changed_one_is(exported, tmp_path):
    export, manifest = exported
    paths = [onnx_path(export.repository, record["name"]) for record in manifest["networks"]]
    before = [path.stat().st_mtime_ns for path in paths]
    told: list[str] = []
    again = replace(export, report=lambda network, what: told.append(network))
    assert run(again) == manifest
    assert not told
    assert [path.stat().st_mtime_ns for path in paths] == before
    capped = export.deployment.with_option("grounding_dino", "longest_edge", 96)
    before, after = export.find(), replace(export, deployment=capped).find()
    assert before["grounding_dino"].key() != after["grounding_dino"].key()
    assert before["sam"].key() == after["sam"].key()


def test_the_checksums_are_those_that_sha256sum_finds(exported):
    export, manifest = exported
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", CHECKSUMS],
        cwd=export.repository,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = checked.stdout.splitlines()
    assert lines == [f"{name}: OK" for name in manifest["files"]]
    assert {f"{record['name']}/1/model.onnx" for record in manifest["networks"]} <= {
        *manifest["files"]
    }


def test_a_server_verifies_engines_as_it_does_the_rest_of_an_export(exported, tmp_path):
    folder = shutil.copytree(exported[0].out, tmp_path / "export")
    repository = folder / REPOSITORY
    before, plan = verify(repository), plan_path(repository, "sam_mask_decoder")
    plan.write_bytes(b"an engine")
    assert verify(repository) == before
    record_files(folder)
    assert verify(repository) == before + 1
    manifest = json.loads((folder / MANIFEST).read_text())
    assert list(manifest["files"]) == list(read_list(repository))
    plan.write_bytes(b"another")
    with pytest.raises(RepositoryError, match=r"model\.plan is not what was exported"):
        verify(repository)


def first_step(export: Export) -> pb.ModelConfig:
    path = export.repository / "preprocess_image" / "config.pbtxt"
    return text_format.Parse(path.read_text(), pb.ModelConfig())


def parameter(config: pb.ModelConfig, name: str):
    return json.loads(config.parameters[name].string_value)


def test_a_failed_export_leaves_the_former_one_whole(exported, checkpoints, tmp_path):
    export, manifest = exported
    shutil.copytree(checkpoints["sam"].folder, tmp_path / "sam")
    (tmp_path / "sam" / "model.safetensors").write_bytes(b"cut off")
    deployment = export.deployment.with_checkpoints({"sam": str(tmp_path / "sam")})
    with pytest.raises(InvalidCheckpoint, match=r"sam: the weights in .* cannot be loaded"):
        run(replace(export, deployment=deployment))
    assert run(export) == manifest
    assert {path.name for path in export.out.iterdir()} == {
        ".lock", "manifest.json", "model_repository"}  # fmt: skip
    assert not [*export.members.glob(".assembling-*")]


def test_other_settings_replace_the_configurations_and_keep_weights_and_models_of_others(exported):
    export, manifest = exported
    weights = onnx_path(export.repository, "sam_mask_decoder")
    before = weights.stat()
    foreign = export.repository / "theirs" / "1"
    foreign.mkdir(parents=True)
    run(replace(export, settings=MachineSettings(decode_margin=0)))
    assert parameter(first_step(export), "decode_margin") == 0
    assert os.path.samestat(weights.stat(), before)
    assert foreign.is_dir()
    assert run(export) == manifest
    assert parameter(first_step(export), "decode_margin") == 2.0


def test_an_export_without_a_file_is_done_again(exported, tmp_path):
    export, manifest = exported
    path = onnx_path(export.repository, "clip_text_encoder")
    lost = path.rename(tmp_path / "lost.onnx")
    assert run(export)["files"] == manifest["files"]
    assert path.read_bytes() == lost.read_bytes()


def test_a_drifting_weight_stops_the_export(loaded, tmp_path):
    item = network(loaded, "clip_text_encoder")
    path = tmp_path / "model.onnx"
    to_onnx(item, path)
    model = onnx.load(str(path))
    weight = max(model.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
    values = numpy_helper.to_array(weight)
    changed = values + 0.05 * np.random.default_rng(0).normal(size=values.shape)
    weight.CopyFrom(numpy_helper.from_array(changed.astype(np.float32), weight.name))
    onnx.save(model, str(path))
    with pytest.raises(ParityError, match="clip_text_encoder: text_embeds drifts by"):
        parity.check_network(item, path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": (TensorSpec("text_embeds", "INT64", (128,)),)}, "text_embeds should be INT64"),
        ({"outputs": (TensorSpec("text_embeds", "FP32", (7,)),)}, "should be 7, the graph fixes"),
        ({"outputs": (TensorSpec("text_embeds", "FP32", (1, 2)),)}, "should have 3 axes, got 2"),
    ],
)
def test_a_wrong_dtype_or_axis_stops_the_export(loaded, tmp_path, changes, message):
    item = network(loaded, "clip_text_encoder")
    wrong = replace(item, spec=replace(item.spec, **changes))
    with pytest.raises(ParityError, match=message):
        to_onnx(wrong, tmp_path / "model.onnx")


def test_swapped_rows_of_a_detector_count_as_the_same(loaded):
    spec = network(loaded, "grounding_dino").spec
    expected = detections(20)
    order = np.random.default_rng(1).permutation(20)
    got = {name: array[:, order] for name, array in expected.items()}
    _, matched = parity.match_rows(spec, expected, got)
    for name in expected:
        assert np.array_equal(matched[name], expected[name])


def test_rows_are_matched_whatever_their_outputs_are_called(loaded):
    spec = network(loaded, "grounding_dino").spec
    rng = np.random.default_rng(0)
    expected = {
        "scores": rng.normal(0, 9, (2, 20)).astype(np.float32),
        "boxes": rng.normal(0, 300, (2, 20, 2, 2)).astype(np.float32),
    }
    got = {name: array[:, ::-1] for name, array in expected.items()}
    _, matched = parity.match_rows(spec, expected, got)
    for name in expected:
        assert np.array_equal(matched[name], expected[name])


def detections(rows: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "logits": rng.normal(0, 2, (1, rows, 16)).astype(np.float32),
        "pred_boxes": rng.random((1, rows, 4)).astype(np.float32),
    }


@pytest.mark.parametrize("garbage", ["random", "copies", "not a number"])
def test_garbage_in_400_of_900_rows_of_a_detector_is_seen(loaded, garbage):
    spec = network(loaded, "grounding_dino").spec
    expected = detections(900)
    order = np.random.default_rng(1).permutation(900)
    got = {name: array[:, order].copy() for name, array in expected.items()}
    for array in got.values():
        if garbage == "random":
            array[:, :400] = np.random.default_rng(2).normal(0, 5, array[:, :400].shape)
        else:
            array[:, :400] = array[:, 400:800] if garbage == "copies" else np.nan
    _, matched = parity.match_rows(spec, expected, got)
    alike = [(matched[name] == expected[name]).all(axis=2) for name in expected]
    assert np.logical_and(*alike).sum() == 500
    with pytest.raises(ParityError, match=r"met by 55\.6%"):
        parity.compare(spec, expected, got, batch=1, variant=0)


def test_rows_of_a_detector_are_matched_one_to_one(loaded):
    spec = network(loaded, "grounding_dino").spec
    expected = detections(6)
    doubled = {name: array[:, [0, 0, 1, 2, 3, 4]] for name, array in expected.items()}
    _, matched = parity.match_rows(spec, expected, doubled)
    rows = [row.tobytes() for row in matched["pred_boxes"][0]]
    assert sorted(rows) == sorted(row.tobytes() for row in doubled["pred_boxes"][0])


def test_an_unreachable_hub_names_the_local_way(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointUnavailable, match="python -m export --checkpoint dino=FOLDER"):
        find("dino", Source("nobody/no-such-checkpoint"))


def test_a_folder_without_a_checkpoint_says_what_is_missing(tmp_path):
    with pytest.raises(CheckpointUnavailable, match=r"clip: expected config.json in .*got none"):
        find("clip", Source(str(tmp_path)))
    missing = "missing config.json, tokenizer.json, preprocessor_config.json: copy them"
    with pytest.raises(CheckpointUnavailable, match=missing):
        find("clip", Source(str(tmp_path), family="clip"))
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    missing = "missing tokenizer.json, preprocessor_config.json: copy them"
    with pytest.raises(CheckpointUnavailable, match=missing):
        find("clip", Source(str(tmp_path)))
