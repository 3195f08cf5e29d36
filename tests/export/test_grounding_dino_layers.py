"""The cheaper order of computing gives transformers' results, and is gone after tracing."""

import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GroundingDinoConfig
from transformers.models.grounding_dino.modeling_grounding_dino import (
    GroundingDinoBiMultiHeadAttention,
    MultiScaleDeformableAttention,
)

from export.families.grounding_dino_layers import FORWARDS, reordered
from export.to_onnx import to_onnx

counts = st.integers(1, 5)


def both(layer, *inputs):
    """transformers' answer and the replacement's."""
    with torch.no_grad():
        theirs = layer(*inputs)
        with reordered():
            return theirs, layer(*inputs)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 9), st.booleans(), st.integers(0, 99))
def test_fusion_equals_transformers(batch, pixels, tokens, masked, seed):
    torch.manual_seed(seed)
    config = GroundingDinoConfig(d_model=16, encoder_ffn_dim=48, encoder_attention_heads=8)
    layer = GroundingDinoBiMultiHeadAttention(config).eval()
    masks = [torch.rand(batch, edge) < 0.4 for edge in (pixels, tokens)]
    for mask in masks:
        mask[:, 0] = False
    theirs, ours = both(
        layer,
        torch.randn(batch, pixels, 16),
        torch.randn(batch, tokens, 16),
        *(masks if masked else (None, None)),
    )
    for (expected, _), (got, _) in zip(theirs, ours, strict=True):
        assert got.shape == expected.shape
        assert torch.allclose(got, expected, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(counts, counts, counts, counts, st.lists(st.tuples(counts, counts), min_size=1, max_size=4))
def test_deformable_attention_equals_transformers(batch, queries, heads, points, shapes):
    torch.manual_seed(queries)
    positions = sum(height * width for height, width in shapes)
    weights = torch.rand(batch, queries, heads, len(shapes), points)
    theirs, ours = both(
        MultiScaleDeformableAttention(),
        torch.randn(batch, positions, heads, 3),
        None,
        shapes,
        None,
        1.4 * torch.rand(batch, queries, heads, len(shapes), points, 2) - 0.2,
        weights,
        64,
    )
    assert ours.shape == theirs.shape
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_transformers_own_come_back_even_after_an_error():
    originals = {layer: layer.forward for layer in FORWARDS}
    with pytest.raises(RuntimeError), reordered():
        assert all(layer.forward is forward for layer, forward in FORWARDS.items())
        raise RuntimeError
    assert {layer: layer.forward for layer in FORWARDS} == originals


def test_no_product_projects_the_picture_for_the_text(loaded, tmp_path):
    network = next(n for n in loaded.networks if n.spec.name == "grounding_dino")
    path = tmp_path / "model.onnx"
    to_onnx(network, path)
    nodes = onnx.load(str(path)).graph.node
    fusion = [node.name for node in nodes if "/fusion_layer/attn/" in node.name]
    assert fusion
    assert not [name for name in fusion if "/vision_proj/" in name or "values_vision" in name]
