"""Graphs with weights beside them are made, lowered, moved and served as a whole."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from export import onnx_files, parity
from export.deployments import Export, run
from export.lower_precision import check_range, lower, precisions
from export.to_onnx import to_onnx
from tests.deployments import embeds_only

SMALL = 100_000  # bytes: less than the weights of the networks here


@pytest.fixture(scope="module")
def text_encoder(loaded):
    return next(n for n in loaded.networks if n.spec.name == "clip_text_encoder")


@pytest.fixture
def split(text_encoder, tmp_path) -> Path:
    path = tmp_path / "1" / "model.onnx"
    to_onnx(text_encoder, path, embedded_bytes=SMALL)
    return path


def weights(path: Path) -> dict[str, np.ndarray]:
    graph = onnx.load(str(path)).graph
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}


def test_weights_beside_a_graph_equal_those_inside_one(text_encoder, split, tmp_path):
    whole = tmp_path / "whole.onnx"
    to_onnx(text_encoder, whole)
    assert {path.name for path in split.parent.iterdir()} == {"model.onnx", "model.onnx.data"}
    assert split.stat().st_size < SMALL < split.with_name("model.onnx.data").stat().st_size
    assert onnx_files.parts(whole) == [whole]
    expected, got = weights(whole), weights(split)
    assert expected.keys() == got.keys()
    assert all(np.array_equal(expected[name], got[name]) for name in expected)
    assert parity.check_network(text_encoder, split, max_batch=1)


def test_moved_together_they_still_agree(text_encoder, split, tmp_path):
    moved = tmp_path / "elsewhere"
    split.parent.rename(moved)
    assert parity.check_network(text_encoder, moved / "model.onnx", max_batch=1)


def test_a_changed_weight_beside_a_graph_changes_its_hash(split):
    before = onnx_files.sha256(split)
    data = onnx_files.data_path(split)
    data.write_bytes(data.read_bytes()[:-1] + b"x")
    assert onnx_files.sha256(split) != before


@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("embedded_bytes", [SMALL, onnx_files.EMBEDDED_BYTES])
def test_a_lower_precision_has_the_same_weights_in_one_file_or_two(
    text_encoder, split, tmp_path, precision, embedded_bytes
):
    whole = tmp_path / "whole.onnx"
    to_onnx(text_encoder, whole)
    for path in (whole, split):
        assert lower(text_encoder.policy, path, precision, embedded_bytes) == precision
    assert precisions(whole) == precisions(split)
    beside = embedded_bytes == SMALL
    assert [path.suffix for path in onnx_files.parts(split)] == [".onnx", ".data"][: 1 + beside]
    assert sorted(split.parent.iterdir()) == onnx_files.parts(split)
    expected, got = weights(whole), weights(split)
    assert all(np.array_equal(expected[name], got[name]) for name in expected)


def test_overflow_is_found_in_weights_beside_a_graph(text_encoder, split, tmp_path):
    whole = tmp_path / "whole.onnx"
    to_onnx(text_encoder, whole)
    name, policy, sample = text_encoder.spec.name, text_encoder.policy, text_encoder.sample(1, 0)
    found = check_range(name, policy, split, sample)
    assert found == check_range(name, policy, whole, sample) > 0
    assert {path.name for path in split.parent.iterdir()} == {"model.onnx", "model.onnx.data"}


def test_an_export_records_both_files_and_is_not_done_again(deployment, members, tmp_path):
    clip = embeds_only(deployment)
    export = Export(clip, tmp_path, max_batch=1, embedded_bytes=SMALL, members=members)
    manifest = run(export)
    assert run(export) == manifest
    for record in manifest["networks"]:
        folder = export.onnx_path(record["name"]).parent
        names = [f"{record['name']}/1/{path.name}" for path in sorted(folder.iterdir())]
        assert names == [f"{record['name']}/1/model.onnx{s}" for s in ("", ".data")]
        assert sum(manifest["files"][name]["bytes"] for name in names) == record["bytes"]
    replaced = run(replace(export, embedded_bytes=onnx_files.EMBEDDED_BYTES))
    assert not [*export.repository.rglob("*.data")]
    assert json.loads((tmp_path / "manifest.json").read_text()) == replaced
    shutil.rmtree(tmp_path)
