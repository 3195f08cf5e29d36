"""OpenCLIP's transformers, with the weight names of open_clip's checkpoints.

Architecture: Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision" (ICML 2021).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import QuickGELUActivation


@dataclass(frozen=True)
class Shape:
    """A transformer's sizes. hidden: width in its MLPs. quick_gelu: x·sigmoid(1.702·x) for GELU.

    eps: of its layer norms. bias_kv: whether attention adds a learned key and value to those
    of the tokens.
    """

    width: int
    layers: int
    heads: int
    hidden: int
    quick_gelu: bool
    eps: float
    bias_kv: bool = False


class Attention(nn.Module):
    """Self-attention; queries, keys and values come from one product."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, self.heads = shape.width, shape.heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        self.bias_kv = shape.bias_kv
        if shape.bias_kv:
            self.bias_k = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
            self.bias_v = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        batch, length, width = x.shape
        parts = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        parts = parts.view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        if self.bias_kv:
            key, value = self._with(key, self.bias_k), self._with(value, self.bias_v)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        mixed = mixed.transpose(1, 2).reshape(batch, length, width)
        projected: Tensor = self.out_proj(mixed)
        return projected

    def _with(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """[N, H, L, W / H] and the bias [1, 1, W] -> [N, H, L + 1, W / H]."""
        batch, heads, _, width = tokens.shape
        return torch.cat([tokens, bias.view(heads, 1, width).expand(batch, -1, -1, -1)], dim=2)


class Block(nn.Module):
    """Attention and an MLP, each after a layer norm and with a skip."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(shape.width, shape.eps)
        self.attn = Attention(shape)
        self.ln_2 = nn.LayerNorm(shape.width, shape.eps)
        layers = {
            "c_fc": nn.Linear(shape.width, shape.hidden),
            "gelu": QuickGELUActivation() if shape.quick_gelu else nn.GELU(),
            "c_proj": nn.Linear(shape.hidden, shape.width),
        }
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self.attn(self.ln_1(x), mask)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """[N, T, W] -> [N, T, W]; mask [T, T] is added to the attention's logits."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.resblocks:
            x = block(x, mask)
        return x


class VisionTransformer(nn.Module):
    """Normalised pixels [N, 3, S, S] -> [N, D], read at the class token."""

    def __init__(self, shape: Shape, image_size: int, patch_size: int, embed_dim: int) -> None:
        super().__init__()
        width, scale = shape.width, shape.width**-0.5
        patches = (image_size // patch_size) ** 2
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(patches + 1, width))
        self.conv1 = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        self.ln_pre = nn.LayerNorm(width, shape.eps)
        self.transformer = Transformer(shape)
        self.ln_post = nn.LayerNorm(width, shape.eps)
        self.proj = nn.Parameter(scale * torch.randn(width, embed_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(pixels.shape[0], 1, -1)
        x = torch.cat([first, patches], dim=1) + self.positional_embedding
        seen: Tensor = self.transformer(self.ln_pre(x))
        return self.ln_post(seen[:, 0]) @ self.proj


class OpenClipModel(nn.Module):
    """The tower for pictures, and the transformer for texts."""

    def __init__(
        self, visual: nn.Module, text: Shape, length: int, vocabulary: int, embed_dim: int
    ) -> None:
        super().__init__()
        width = text.width
        self.visual = visual
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.randn(length, width) * width**-0.5)
        self.transformer = Transformer(text)
        self.ln_final = nn.LayerNorm(width, text.eps)
        self.text_projection = nn.Parameter(torch.randn(width, embed_dim) * width**-0.5)
        self.logit_scale = nn.Parameter(torch.tensor(1 / 0.07).log())
        before = torch.full((length, length), -torch.inf).triu(1)
        self.register_buffer("attn_mask", before, persistent=False)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Normalised pixels [N, 3, S, S] -> [N, D]."""
        seen: Tensor = self.visual(pixels)
        return seen

    def encode_text(self, input_ids: Tensor) -> Tensor:
        """int64 [N, T] -> [N, D], read at the largest token, the end of a text."""
        x = self.token_embedding(input_ids) + self.positional_embedding
        x = self.ln_final(self.transformer(x, self.attn_mask))
        ends = x[torch.arange(x.shape[0]), input_ids.argmax(dim=-1)]
        return ends @ self.text_projection
