"""Turns logits into probabilities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def sigmoid(logits: Floats) -> Floats:
    """Each value alone, within [0, 1]: float32 of the same shape."""
    with np.errstate(over="ignore"):  # for very negative ones: the result is 0
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


def softmax(logits: Floats) -> Floats:
    """Over the last axis, with sum 1: float32 of the same shape."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)
