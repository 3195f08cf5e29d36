"""The production architectures at full size, with seeded random weights, in the same code."""

import importlib.util

import pytest

from export.deployments import Export, load
from export.engines_rtx import ENGINE_PRECISIONS, TARGETS, graph
from export.parity import check_network
from export.production import production_deployment
from export.profiles import profile
from export.rtx_build import isolated_build
from export.runtimes import RUNTIMES
from export.stand_ins import stand_in
from export.to_onnx import to_onnx

pytestmark = pytest.mark.real_size

# The processor's own 1333 x 1333 canvas takes nearly three times as long.
GROUNDING_DINO_EDGE = 800


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stand-ins")
    deployment = stand_in(folder).with_option("grounding_dino", "longest_edge", GROUNDING_DINO_EDGE)
    return load(Export(deployment, folder / "export"))


def test_the_checkpoints_arrive_at_the_committed_specs(loaded):
    expected = production_deployment(GROUNDING_DINO_EDGE)
    assert loaded.deployment.verbs == expected.verbs
    for name in ("sam", "grounding_dino"):
        assert loaded.deployment.member(name) == expected.member(name)
    found, published = (d.member("clip").spec for d in (loaded.deployment, expected))
    assert found.image_size == published.image_size
    assert found.pad_token_id == published.pad_token_id


@pytest.mark.parametrize("index", range(5))
def test_each_network_exports_and_agrees(loaded, tmp_path, index):
    network = loaded.networks[index]
    path = tmp_path / "model.onnx"
    to_onnx(network, path)
    assert check_network(network, path, max_batch=2)


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    """A cache for each traced network: tracing takes longer than building."""
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
    shapes = profile(network.spec, RUNTIMES["tensorrt"].limit(loaded.deployment.limits))
    outcome = isolated_build(path, shapes, target)
    assert outcome.unsupported == []
    assert outcome.built, outcome.error
