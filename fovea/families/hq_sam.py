"""HQ-SAM: SAM with a second, finer map of the picture, and thus sharper masks."""

from __future__ import annotations

from fovea.families.sam import Sam
from fovea.specs import TensorSpec

# The finer map has as many channels as SAM's own upscaling: an eighth of the embedding's.
CHANNEL_SHARE = 8


class HqSam(Sam):
    """Pixels, prompts, masks and the spec are SAM's."""

    @property
    def hq_features(self) -> TensorSpec:
        """The finer map, float32 [C / 8, M, M]."""
        channels, edge = self.spec.embedding_channels // CHANNEL_SHARE, self.spec.mask_edge
        return TensorSpec("hq_features", "FP32", (channels, edge, edge))

    @property
    def embeddings(self) -> tuple[TensorSpec, ...]:
        return (*super().embeddings, self.hq_features)
