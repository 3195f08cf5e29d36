"""What every family must satisfy, on its small checkpoints: a new family adds no test here."""

import numpy as np
import onnx
import pytest

from export import stand_ins
from export.family_checkpoints import TRAINED, requests
from export.family_report import among_and_alone
from export.members import export_member
from export.onnx_files import load_graph
from export.preprocessing import PIXEL_TOLERANCE
from fovea.families import FAMILIES
from fovea.roles import ROLES

# Sums among neighbours may have another order.
NEIGHBOURS = 1e-4
DYNAMIC = {"If", "Loop", "Scan", "NonZero", "NonMaxSuppression"}


CHECKPOINTS = [
    (family, name)
    for family in sorted(FAMILIES)
    for name in (
        *([family] if (TRAINED / family).is_dir() else []),
        *stand_ins.builds(family, "tiny"),
    )
]


def test_every_family_has_a_checkpoint_here():
    assert {family for family, _ in CHECKPOINTS} == set(FAMILIES)


@pytest.fixture(scope="module", params=CHECKPOINTS, ids=lambda param: param[1])
def request_(request):
    family, name = request.param
    return requests(family)[name]


@pytest.fixture(scope="module")
def exported(request_):
    return export_member(request_, report=lambda network, what: None)


@pytest.fixture(scope="module")
def opened(request_):
    return request_.open()


def test_pixels_and_tokens_are_those_of_the_checkpoint(exported):
    compared = exported.record["preprocessing"]
    assert compared["grey_levels"] <= PIXEL_TOLERANCE
    assert len(compared["sizes_hw"]) >= 6
    assert bool(compared["texts"]) == bool(exported.member.play().FILES)


def test_every_network_agrees_with_pytorch_in_every_batch_size(exported, opened):
    networks = exported.record["networks"]
    assert [record["part"] for record in networks] == [
        opened.role.part(network.spec.name) for network in opened.networks
    ]
    for record in networks:
        for agreement in record["parity"]:
            assert agreement["difference"] <= record["tolerance"]["difference"]
            assert agreement["rows"] >= record["tolerance"]["rows"]


def test_an_answer_is_the_same_alone_and_among_neighbours(exported, opened):
    for among, alone in among_and_alone(opened, exported):
        assert np.allclose(among, alone, atol=NEIGHBOURS, rtol=NEIGHBOURS)


def test_no_graph_depends_on_what_it_sees(exported, opened):
    for network in opened.networks:
        graph = load_graph(exported.graph(opened.role.part(network.spec.name))).graph
        assert not {node.op_type for node in graph.node} & DYNAMIC
        assert graph.input[0].type.tensor_type.elem_type in (
            onnx.TensorProto.UINT8,
            onnx.TensorProto.INT64,
            onnx.TensorProto.FLOAT,
        )


def test_it_plays_a_role_and_its_networks_are_named_after_the_member(exported):
    role = exported.member.play()
    assert isinstance(role, ROLES[role.ROLE])
    assert len({network.name for network in role.networks}) == len(role.networks)
    assert all(network.name.startswith(exported.member.name) for network in role.networks)
    assert exported.member.fingerprint
