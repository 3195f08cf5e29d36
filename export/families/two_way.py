"""The transformer of SAM's mask decoders, for many prompts on one picture."""

from __future__ import annotations

from torch import Tensor, nn


class TwoWay(nn.Module):
    """transformers' `SamTwoWayTransformer`, whose first layer computes once what prompts share.

    tokens [N, P, T, C], pixels [N, E * E, C], positions [1, E * E, C] ->
    tokens [N, P, T, C], pixels [N, P, E * E, C].
    """

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, tokens: Tensor, pixels: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        queries, keys, positions = tokens, pixels.unsqueeze(1), positions.unsqueeze(1)
        for layer in self.transformer.layers:
            if layer.skip_first_layer_pe:
                queries = attend(layer.self_attn, queries, queries, queries)
            else:
                query = queries + tokens
                queries = queries + attend(layer.self_attn, query, query, queries)
            queries = layer.layer_norm1(queries)
            placed = keys + positions
            found = attend(layer.cross_attn_token_to_image, queries + tokens, placed, keys)
            queries = layer.layer_norm2(queries + found)
            queries = layer.layer_norm3(queries + layer.mlp(queries))
            found = attend(layer.cross_attn_image_to_token, placed, queries + tokens, queries)
            keys = layer.layer_norm4(keys + found)
        last = self.transformer.final_attn_token_to_image
        found = attend(last, queries + tokens, keys + positions, keys)
        return self.transformer.layer_norm_final_attn(queries + found), keys


def attend(attention: nn.Module, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """transformers' `SamAttention` for [N, P, t, C]; any of the three may have 1 in place of P."""

    def heads(rows: Tensor) -> Tensor:
        split = rows.reshape(*rows.shape[:-1], attention.num_attention_heads, -1)
        return split.transpose(-3, -2)

    q, k, v = (
        heads(project(rows))
        for project, rows in (
            (attention.q_proj, query),
            (attention.k_proj, key),
            (attention.v_proj, value),
        )
    )
    weights = (q @ k.transpose(-2, -1) * attention.scaling).softmax(dim=-1)
    answer: Tensor = attention.out_proj((weights @ v).transpose(-3, -2).flatten(-2))
    return answer
