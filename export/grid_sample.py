"""Bilinear sampling by gathering: `grid_sample` without the GridSample operator.

Public reports show TensorRT engines that silently detect wrongly because of GridSample in
deformable attention (NVIDIA/TensorRT issue 4813, lightly-train pull request 917). Every runtime
computes four gathers and a weighted sum correctly.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

GridSample = Literal["native", "gather"]
FORMS: tuple[GridSample, ...] = ("native", "gather")


def gather_grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = False,
) -> Tensor:
    """`torch.nn.functional.grid_sample`, bilinear, zeros outside, align_corners False.

    input float32 [N, C, H, W], grid float32 [N, Y, X, 2] of x, y in [-1, 1] -> [N, C, Y, X].
    """
    if (mode, padding_mode, bool(align_corners)) != ("bilinear", "zeros", False):
        raise ValueError(
            "expected bilinear, zeros, align_corners False, "
            f"got {mode}, {padding_mode}, align_corners {align_corners}"
        )
    count, channels, height, width = input.shape
    # Pixel units, with the centre of the first pixel at 0.
    x = ((grid[..., 0] + 1) * width - 1) / 2
    y = ((grid[..., 1] + 1) * height - 1) / 2
    left, top = x.floor(), y.floor()
    right_part, lower_part = x - left, y - top
    # One row per pixel of all pictures, so that a gather takes whole rows of channels.
    pixels = input.permute(0, 2, 3, 1).reshape(-1, channels)
    first = torch.arange(count, device=input.device).view(-1, 1, 1) * (height * width)

    def corner(column: Tensor, row: Tensor, weight: Tensor) -> Tensor:
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        nearest = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
        index = (first + nearest.long()).reshape(-1)
        rows = pixels.index_select(0, index).view(count, -1, channels)
        return rows * (weight * inside.to(weight.dtype)).reshape(count, -1, 1)

    sampled = corner(left, top, (1 - right_part) * (1 - lower_part))
    sampled = sampled + corner(left + 1, top, right_part * (1 - lower_part))
    sampled = sampled + corner(left, top + 1, (1 - right_part) * lower_part)
    sampled = sampled + corner(left + 1, top + 1, right_part * lower_part)
    return sampled.transpose(1, 2).reshape(count, channels, *grid.shape[1:3])


@contextmanager
def _gathering() -> Iterator[None]:
    original: Any = functional.grid_sample
    functional.grid_sample = gather_grid_sample
    try:
        yield
    finally:
        functional.grid_sample = original


def sampling(form: GridSample) -> AbstractContextManager[None]:
    """Make models that are traced in this context sample in this form."""
    if form not in FORMS:
        raise ValueError(f"expected one of {', '.join(FORMS)}, got {form!r}")
    return _gathering() if form == "gather" else nullcontext()
