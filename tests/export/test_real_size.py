"""The production architectures at full size, seeded random weights, through the very same code."""

import importlib.util

import pytest

from export.checkpoints import find
from export.engines_rtx import ENGINE_PRECISIONS, TARGETS, graph
from export.parity import check_network
from export.pipeline import load
from export.production import production_pipeline
from export.profiles import profile
from export.rtx_build import isolated_build
from export.runtimes import RUNTIMES
from export.stand_ins import write_stand_ins
from export.to_onnx import to_onnx

pytestmark = pytest.mark.real_size

# The processor's own 1333 x 1333 canvas takes nearly three times as long.
GROUNDING_DINO_EDGE = 800


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folders = write_stand_ins(tmp_path_factory.mktemp("stand-ins"))
    found = {family: find(family, folder) for family, folder in folders.items()}
    return load(found, GROUNDING_DINO_EDGE)


def test_the_checkpoints_arrive_at_the_committed_specs(loaded):
    expected = production_pipeline(GROUNDING_DINO_EDGE)
    assert loaded.pipeline.sam == expected.sam
    assert loaded.pipeline.grounding_dino == expected.grounding_dino
    assert loaded.pipeline.clip.image_size == expected.clip.image_size
    assert loaded.pipeline.clip.pad_token_id == expected.clip.pad_token_id


@pytest.mark.parametrize("index", range(5))
def test_each_network_exports_and_agrees(loaded, tmp_path, index):
    network = loaded.networks[index]
    path = tmp_path / "model.onnx"
    to_onnx(network, path)
    assert check_network(network, path, max_batch=2)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """Where each network is kept once it is traced: tracing takes longer than building."""
    return tmp_path_factory.mktemp("graphs")


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt_rtx is not installed: pip install -e '.[engines]'",
)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("precision", ENGINE_PRECISIONS)
@pytest.mark.parametrize("index", range(5))
def test_each_network_builds_with_tensorrt_for_rtx(loaded, graphs, index, precision, target):
    network = loaded.networks[index]
    path = graph(network, graphs, "real size", "gather", precision)
    shapes = profile(network.spec, RUNTIMES["tensorrt"].limit(loaded.pipeline))
    outcome = isolated_build(path, shapes, target)
    assert outcome.unsupported == []
    assert outcome.built, outcome.error
