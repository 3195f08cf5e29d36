"""Casting, normalising and zero padding inside the graph: pixels arrive as uint8."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """uint8 [N, 3, H, W] -> float32 (x / 255 - mean) / std, as the checkpoints' processors do."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, pixel_values: Tensor) -> Tensor:
        return (pixel_values.float() * (1 / 255) - self.mean) / self.std


def valid_mask(valid_hw: Tensor, height: int, width: int) -> Tensor:
    """bool [N, H, W], true within the top left valid_hw [N, 2] pixels."""
    rows = torch.arange(height).view(1, height, 1) < valid_hw[:, 0].view(-1, 1, 1)
    columns = torch.arange(width).view(1, 1, width) < valid_hw[:, 1].view(-1, 1, 1)
    return rows & columns
