"""SAM 2 for pictures: the whole picture, squashed to a square, and two finer maps of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fovea import masks
from fovea.families.sam import Sam, stretched_columns
from fovea.geometry import Geometry
from fovea.specs import ModelSpec, TensorSpec


class Sam2(Sam):
    """Prompts and the spec are SAM's; a checkpoint's memory of a video is not used."""

    @property
    def geometry(self) -> Geometry:
        size_hw = (self.spec.image_size, self.spec.image_size)
        return Geometry("squash", size_hw, size_hw, self.spec.resample)

    def frame_hw(self, original_hw: tuple[int, int]) -> tuple[int, int]:
        return original_hw

    @property
    def embeddings(self) -> tuple[TensorSpec, ...]:
        """SAM's embedding and the finer maps, with an eighth and a quarter of the channels."""
        channels, edge = self.spec.embedding_channels, self.spec.embedding_edge
        return (
            *super().embeddings,
            TensorSpec("fine_features", "FP32", (channels // 8, 4 * edge, 4 * edge)),
            TensorSpec("middle_features", "FP32", (channels // 4, 2 * edge, 2 * edge)),
        )

    @property
    def image_network(self) -> ModelSpec:
        network = super().image_network
        return replace(network, inputs=network.inputs[:1])

    def encode_mask(self, mask: NDArray[np.float32], original_hw: tuple[int, int]) -> bytes:
        return masks.encode_columns(stretched_columns(mask, original_hw))
