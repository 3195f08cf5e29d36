"""GroundingDINO's two costliest layers, computed in a cheaper order with equal answers.

They replace transformers' own only while a network is traced; the checkpoint that parity compares
with is not touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.grounding_dino.modeling_grounding_dino import (
    GroundingDinoBiMultiHeadAttention,
    MultiScaleDeformableAttention,
)

Attended = tuple[tuple[Tensor, None], tuple[Tensor, None]]


def fuse(
    self: GroundingDinoBiMultiHeadAttention,
    vision_features: Tensor,
    text_features: Tensor,
    vision_attention_mask: Tensor | None = None,
    text_attention_mask: Tensor | None = None,
) -> Attended:
    """Picture and text attend to each other, without projecting the picture.

    vision_features [N, S, C], text_features [N, T, C], masks bool [N, S] and [N, T], True for
    tokens that must not be attended to -> what is added to each, of the same shapes.

    A picture has thousands of tokens, a caption a few dozen, and each head projects them to C:
    (V A)(T B)' = V (A (T B)'), P (T B) C = P ((T B) C) and P (V A) = (P V) A. So the projections
    are multiplied with the text first, and the picture with only H x T columns instead of H x C.
    Shifting a row does not change its softmax, so transformers' subtraction of maxima is left out.
    """
    batch, tokens = vision_features.shape[0], text_features.shape[1]
    heads, width = self.num_heads, self.head_dim

    def by_head(projected: Tensor) -> Tensor:
        return projected.view(batch, tokens, heads, width).transpose(1, 2)

    keys = by_head(self.text_proj(text_features))
    query_weight = self.vision_proj.weight.view(heads, width, -1)
    query_bias = self.vision_proj.bias.view(heads, width, 1)
    to_scores = _columns(torch.matmul(keys, query_weight)).transpose(1, 2) * self.scale
    bias = _columns(torch.matmul(keys, query_bias)).transpose(1, 2) * self.scale
    scores = torch.matmul(vision_features, to_scores) + bias

    of_text = scores.view(batch, -1, heads, tokens)
    if text_attention_mask is not None:
        of_text = of_text.masked_fill(text_attention_mask[:, None, None], float("-inf"))
    values = by_head(self.values_text_proj(text_features))
    vision_out = self.out_vision_proj.weight.view(-1, heads, width).permute(1, 2, 0)
    vision = torch.matmul(
        of_text.softmax(-1).view(batch, -1, heads * tokens),
        _columns(torch.matmul(values, vision_out)),
    )

    of_vision = scores.transpose(1, 2)
    if vision_attention_mask is not None:
        of_vision = of_vision.masked_fill(vision_attention_mask[:, None], float("-inf"))
    seen = torch.matmul(of_vision.softmax(-1), vision_features).view(batch, heads, tokens, -1)
    value_weight = self.values_vision_proj.weight.view(heads, width, -1).transpose(1, 2)
    text = torch.matmul(seen, value_weight) + self.values_vision_proj.bias.view(heads, 1, width)
    text = text.transpose(1, 2).reshape(batch, tokens, heads * width)
    return (vision + self.out_vision_proj.bias, None), (self.out_text_proj(text), None)


def _columns(by_head: Tensor) -> Tensor:
    """[N, H, T, C] -> [N, H x T, C]."""
    return by_head.flatten(1, 2)


def sample_levels(
    self: MultiScaleDeformableAttention,
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_spatial_shapes_list: list[tuple[int, int]],
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Deformable attention that sums each level's samples before it samples the next.

    value [N, S, H, C] of all levels, sampling_locations [N, Q, H, L, P, 2] x, y in 0..1,
    attention_weights [N, Q, H, L, P] -> [N, Q, H x C].

    transformers writes the samples of all levels, L x P times the answer's size, into one tensor
    and then weighs it. Here each level is weighed on its own, with the queries last, so that the
    sum over points runs along whole rows.
    """
    batch, queries = sampling_locations.shape[:2]
    heads, channels = value.shape[2:]
    maps = value.split([height * width for height, width in value_spatial_shapes_list], dim=1)
    grids = (2 * sampling_locations - 1).permute(3, 0, 2, 4, 1, 5).flatten(1, 2)
    weights = attention_weights.permute(3, 0, 2, 4, 1).flatten(1, 2).unsqueeze(2)
    levels = []
    for (height, width), level, grid, weight in zip(
        value_spatial_shapes_list, maps, grids, weights, strict=True
    ):
        level = level.flatten(2).transpose(1, 2).reshape(batch * heads, channels, height, width)
        sampled = functional.grid_sample(
            level, grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        levels.append((sampled * weight).sum(2))
    summed = sum(levels[1:], levels[0])
    return summed.view(batch, heads * channels, queries).transpose(1, 2)


FORWARDS: dict[type[nn.Module], Any] = {
    GroundingDinoBiMultiHeadAttention: fuse,
    MultiScaleDeformableAttention: sample_levels,
}


@contextmanager
def reordered() -> Iterator[None]:
    """Make the two layers compute in the cheaper order."""
    originals = {layer: layer.forward for layer in FORWARDS}
    for layer, forward in FORWARDS.items():
        layer.forward = forward
    try:
        yield
    finally:
        for layer, original in originals.items():
            layer.forward = original
