"""Sampling by gathers equals grid_sample, alone and in the whole network."""

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from export import parity
from export.grid_sample import gather_grid_sample, sampling
from export.to_onnx import to_onnx

coordinates = st.floats(-3, 3, width=32) | st.sampled_from([-1.0, 0.0, 1.0, 0.5])


@st.composite
def problems(draw):
    count, channels, height, width, rows, columns = (draw(st.integers(1, 5)) for _ in range(6))
    values = arrays.arrays(
        np.float32, (count, channels, height, width), elements=st.floats(-8, 8, width=32)
    )
    grid = arrays.arrays(np.float32, (count, rows, columns, 2), elements=coordinates)
    return torch.from_numpy(draw(values)), torch.from_numpy(draw(grid))


@settings(max_examples=150)
@given(problems())
def test_it_equals_grid_sample(problem):
    values, grid = problem
    expected = torch.nn.functional.grid_sample(values, grid, align_corners=False)
    assert torch.allclose(gather_grid_sample(values, grid), expected, atol=1e-5)


def test_it_equals_grid_sample_at_the_edges_and_far_outside():
    values = torch.randn(2, 3, 7, 5, generator=torch.Generator().manual_seed(0))
    edges = torch.tensor([-50.0, -1.2, -1.0, -0.9999, 0.0, 0.9999, 1.0, 1.2, 50.0])
    grid = torch.stack(torch.meshgrid(edges, edges, indexing="xy"), dim=-1).expand(2, -1, -1, -1)
    expected = torch.nn.functional.grid_sample(values, grid, align_corners=False)
    assert torch.allclose(gather_grid_sample(values, grid), expected, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{"mode": "nearest"}, {"padding_mode": "border"}, {"align_corners": True}]
)
def test_other_kinds_of_sampling_are_refused(options):
    with pytest.raises(ValueError, match="expected bilinear, zeros, align_corners False"):
        gather_grid_sample(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 2), **options)


def test_the_original_is_restored_even_after_an_error():
    original = torch.nn.functional.grid_sample
    with pytest.raises(RuntimeError), sampling("gather"):
        assert torch.nn.functional.grid_sample is gather_grid_sample
        raise RuntimeError
    assert torch.nn.functional.grid_sample is original


def test_the_whole_network_agrees_without_the_operator(loaded, tmp_path):
    network = next(n for n in loaded.networks if n.spec.name == "grounding_dino")
    path = tmp_path / "model.onnx"
    to_onnx(network, path, grid_sample="gather")
    assert "GridSample" not in {node.op_type for node in onnx.load(str(path)).graph.node}
    for agreement in parity.check_network(network, path, max_batch=2):
        assert agreement.difference <= network.spec.tolerance.difference
