"""Each gate of the families catches what it is for."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from export import family_engines
from export.family_checkpoints import requests
from export.family_gates import LEAST_SPREAD, MOST_DRIFT, drift, gates_of
from export.family_report import OPENVINO, Row
from export.float64 import run_float64
from export.members import Opened, code_of, export_member
from export.network import Network
from fovea.specs import ModelSpec, TensorSpec, network_spec

SPEC = network_spec(
    "small",
    inputs=(TensorSpec("values", "FP32", (4,)),),
    outputs=(TensorSpec("answers", "FP32", (4,)),),
    max_batch_size=8,
)


def network(module: nn.Module, spec: ModelSpec = SPEC) -> Network:
    def sample(batch: int, variant: int) -> dict[str, np.ndarray]:
        values = np.random.default_rng((batch, variant)).normal(size=(batch, 4))
        return {"values": values.astype(np.float32)}

    return Network(spec, module, sample, variants=1)


class Casts(nn.Module):
    """Uses float32 in every way that modules here do."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        third = torch.tensor(1.0, dtype=torch.float32) / 3
        whole = values.to(torch.float32).float() + torch.zeros(4, dtype=torch.float32)
        return whole * third + torch.arange(4).float() / 3


def test_float64_reaches_what_asks_for_float32():
    made = network(Casts())
    sample = made.sample(2, 0)
    found = run_float64(made, sample)["answers"]
    expected = sample["values"].astype(np.float64) / 3 + np.arange(4) / 3
    assert found.dtype == np.float64
    assert np.abs(found - expected).max() < 1e-15
    assert torch.get_default_dtype() == torch.float32


def test_the_module_itself_stays_in_float32():
    made = network(nn.Linear(4, 4))
    run_float64(made, made.sample(1, 0))
    assert made.module.weight.dtype == torch.float32


@pytest.fixture(scope="module")
def member():
    request = requests("convnextv2")["convnextv2_tiny"]
    return request.open(), export_member(request, report=lambda network, what: None)


def test_a_good_member_holds_all(member):
    gates = gates_of(*member)
    assert gates.spread > LEAST_SPREAD
    assert gates.drift is not None and gates.drift <= MOST_DRIFT
    assert gates.openvino <= OPENVINO


def test_a_sample_that_pytorch_rounds_well_by_chance_is_no_drift():
    few, many = 1e-14, 1e-12  # mean squares of one output, by sample
    assert drift([[many], [many]], [[few], [many]]) == pytest.approx(1.407, abs=1e-3)


def test_the_worst_output_decides():
    assert drift([[1e-12, 9e-12]], [[1e-12, 1e-12]]) == pytest.approx(3)


def test_other_weights_than_those_of_the_graph_are_drift(member):
    opened, exported = member
    [one] = opened.networks
    moved = replace(one, module=Scaled(one.module))
    assert gates_of(Opened(opened.member, [moved]), exported).drift > MOST_DRIFT


def test_equal_pictures_have_no_spread(member):
    opened, exported = member
    [one] = opened.networks

    def sample(batch: int, variant: int) -> dict[str, np.ndarray]:
        alone = one.sample(1, variant)
        return {name: np.repeat(array, batch, axis=0) for name, array in alone.items()}

    alike = replace(one, sample=sample)
    assert gates_of(Opened(opened.member, [alike]), exported).spread < LEAST_SPREAD


class Scaled(nn.Module):
    """The same, a thousandth larger."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return 1.001 * self.module(*inputs)


ROW = Row("clip", "clip", "embedder", 2, 1e-7, 0.5, 4, 1e-7, 0.1, 1.0, 1e-6, True)


@given(
    field=st.sampled_from(["grey_levels", "neighbours", "drift", "openvino"]),
    value=st.floats(3, 1e6),
)
def test_a_row_names_the_gate_that_does_not_hold(field, value):
    names = {"grey_levels": "pixels"}
    failed = [gate for gate, holds in replace(ROW, **{field: value}).gates().items() if not holds]
    assert failed == [names.get(field, field)]


def test_what_was_not_tried_does_not_fail_and_what_was_not_built_does():
    assert all(ROW.gates().values())
    assert all(replace(ROW, rtx=None, drift=None).gates().values())
    assert not replace(ROW, rtx=False).gates()["rtx"]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ({"built": True, "unsupported": []}, True),
        ({"built": True, "unsupported": ["/NonZero"]}, False),
        ({"built": False, "unsupported": []}, False),
    ],
)
def test_engines_count_where_they_were_built_of_the_same_code(tmp_path, outcome, expected):
    path = tmp_path / "engines.json"
    row = {"checkpoint": "clip", "code": code_of("clip"), "engines": [{"outcome": outcome}]}
    path.write_text(json.dumps([row]))
    assert family_engines.all_built("clip", "clip", path) is expected
    path.write_text(json.dumps([row | {"code": "of yesterday"}]))
    assert family_engines.all_built("clip", "clip", path) is None
    assert family_engines.all_built("sam", "sam", path) is None
