"""HQ-SAM: SAM with a second, finer map of the picture, and so with sharper masks.

Pixels, prompts and masks are SAM's (`fovea.sam`, `fovea.prompts`), as is the spec.
"""

from __future__ import annotations

from dataclasses import replace

from fovea import sam
from fovea.sam import SamSpec
from fovea.specs import ModelSpec, Queue, TensorSpec

IMAGE_ENCODER = "hq_sam_image_encoder"
MASK_DECODER = "hq_sam_mask_decoder"

# The finer map has the channels that SAM's own upscaling leaves: an eighth of the embedding's.
CHANNEL_SHARE = 8


def hq_tensor(spec: SamSpec) -> TensorSpec:
    """The finer map, float32 [C / 8, M, M]."""
    channels = spec.embedding_channels // CHANNEL_SHARE
    return TensorSpec("hq_features", "FP32", (channels, spec.mask_edge, spec.mask_edge))


def image_encoder(spec: SamSpec, *, max_batch_size: int, queue: Queue) -> ModelSpec:
    """As SAM's -> image_embeddings float32 [C, E, E], hq_features float32 [C / 8, M, M]."""
    own = sam.image_encoder(spec, max_batch_size=max_batch_size, queue=queue)
    return replace(own, name=IMAGE_ENCODER, outputs=(*own.outputs, hq_tensor(spec)))


def mask_decoder(spec: SamSpec, *, max_batch_size: int, queue: Queue) -> ModelSpec:
    """As SAM's, with hq_features after image_embeddings."""
    own = sam.mask_decoder(spec, max_batch_size=max_batch_size, queue=queue)
    embedding, *prompts = own.inputs
    return replace(own, name=MASK_DECODER, inputs=(embedding, hq_tensor(spec), *prompts))
