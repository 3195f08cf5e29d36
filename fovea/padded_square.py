"""OWLv2's preprocessing: a picture padded with black to a square, then resized as by SciPy.

OWLv2's image processor pads the bottom and the right, smooths with a Gaussian whose width follows
from the shrinking (scikit-image's `resize`), and interpolates linearly. Both are one weighted sum
of pixels along each axis. So the square itself, which would be huge for a thin picture, is never
made, and only those pixels are smoothed that an output pixel needs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# SciPy's `gaussian_filter` cuts the bell off at this many standard deviations.
TRUNCATE = 4.0


def resize_padded_square(pixels: NDArray[np.uint8], edge: int) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] -> uint8 [edge, edge, 3]: the picture at top left, black beyond.

    Equals transformers' `Owlv2ImageProcessorPil.pad` and `resize` (order 1, mirrored at the
    borders of the square) except for the rounding to whole levels.
    """
    square = max(pixels.shape[:2])
    lying = pixels.shape[1] > pixels.shape[0]
    # The longer axis first keeps the intermediate array smallest.
    resized = _resize_rows(_turned(pixels) if lying else pixels, square, edge)
    resized = _resize_rows(_turned(resized), square, edge)
    upright = resized if lying else _turned(resized)
    return upright.round().clip(0, 255).astype(np.uint8)


def _turned(values: NDArray[Any]) -> NDArray[Any]:
    """[H, W, 3] as [W, H, 3]."""
    return np.ascontiguousarray(values.transpose(1, 0, 2))


def _resize_rows(values: NDArray[Any], length: int, edge: int) -> NDArray[np.float32]:
    """[H, W, 3], with zeros below up to `length` rows, as float32 [edge, W, 3]."""
    indices, weights = _weighted_rows(len(values), length, edge)
    flat = values.reshape(len(values), -1)
    resized = np.empty((edge, flat.shape[1]), np.float32)
    for row, taken, shares in zip(resized, indices, weights, strict=True):
        there = shares > 0
        np.matmul(shares[there], flat[taken[there]].astype(np.float32), out=row)
    return resized.reshape(edge, *values.shape[1:])


def _weighted_rows(
    valid: int, length: int, edge: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The source rows and weights of each new row: indices and weights, [edge, K] each.

    valid: how many of the `length` rows exist; the others are black and weigh nothing.
    """
    factor = length / edge
    sigma = max(0.0, (factor - 1) / 2)
    radius = int(TRUNCATE * sigma + 0.5)
    bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / (sigma or 1)) ** 2)
    bell /= bell.sum()
    place = (np.arange(edge) + 0.5) * factor - 0.5
    lower = np.floor(place).astype(np.int64)
    part = (place - lower)[:, None]
    # The bell around the lower row and, one further, around the upper one.
    weights = (1 - part) * np.append(bell, 0) + part * np.append(0, bell)
    indices = _mirrored(lower[:, None] + np.arange(-radius, radius + 2), length)
    weights[indices >= valid] = 0
    return np.minimum(indices, valid - 1), weights.astype(np.float32)


def _mirrored(indices: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Indices beyond the ends, reflected about the first and the last row."""
    period = max(1, 2 * (length - 1))
    folded = np.abs(indices) % period
    return np.minimum(folded, period - folded)
