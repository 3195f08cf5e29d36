"""A traceable network, with everything needed to export and check it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from export.precision import NO_POLICY, Policy
from fovea.specs import ModelSpec

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Network:
    """`module` takes the inputs of `spec` in its order, batch axis first, and gives its outputs.

    sample(batch, variant): inputs, deterministic; variants differ in picture sizes, text lengths
    or prompt counts. variants: their number. tracing: a context in which the module computes the
    same in an order that is cheaper in a graph. policy: how it runs in lower precision; set from
    the family's POLICIES. graph: builds the graph of a checkpoint that is ONNX already; then
    nothing is traced, and the module is the reference for that graph.
    """

    spec: ModelSpec
    module: nn.Module
    sample: Callable[[int, int], Arrays]
    variants: int
    tracing: Callable[[], AbstractContextManager[None]] = nullcontext
    policy: Policy = NO_POLICY
    graph: Callable[[], onnx.ModelProto] | None = None


def sample_pixels(
    rng: np.random.Generator, shape: tuple[int, ...], valid_hw: tuple[int, int]
) -> NDArray[np.uint8]:
    """Smooth coloured noise uint8 [..., H, W], zero outside `valid_hw`: a stand-in for pictures."""
    height, width = valid_hw
    coarse = rng.integers(0, 256, (*shape[:-2], 9, 9)).astype(np.float32)
    rows, columns = np.linspace(0, 7.99, height), np.linspace(0, 7.99, width)
    low_row, low_column = rows.astype(int), columns.astype(int)
    row_part, column_part = (rows - low_row)[:, None], columns - low_column
    upper = coarse[..., low_row, :]
    lower = coarse[..., low_row + 1, :]
    mixed = upper * (1 - row_part) + lower * row_part
    smooth = mixed[..., low_column] * (1 - column_part) + mixed[..., low_column + 1] * column_part
    noisy = smooth + rng.normal(0, 12, smooth.shape)
    pixels = np.zeros(shape, np.uint8)
    pixels[..., :height, :width] = np.clip(noisy, 0, 255).astype(np.uint8)
    return pixels


def sample_picture(size_hw: tuple[int, int], batch: int, variant: int) -> Arrays:
    """Pictures without padding."""
    rng = np.random.default_rng((batch, variant))
    return {"pixel_values": sample_pixels(rng, (batch, 3, *size_hw), size_hw)}
