"""The two networks that embedders share, one for pictures and one for texts."""

from __future__ import annotations

from fovea.geometry import Geometry
from fovea.roles import IMAGE_EMBEDS, PIXEL_VALUES, TEXT_EMBEDS
from fovea.specs import ModelSpec, TensorSpec, network_spec


def image_tower(name: str, geometry: Geometry, embed_dim: int) -> ModelSpec:
    """pixel_values uint8 [3, H, W] -> image_embeds float32 [D]."""
    return network_spec(
        name,
        inputs=(TensorSpec(PIXEL_VALUES, "UINT8", (3, *geometry.output_hw)),),
        outputs=(TensorSpec(IMAGE_EMBEDS, "FP32", (embed_dim,)),),
        max_batch_size=16,
    )


def text_tower(name: str, text_length: int, embed_dim: int, *, mask: bool = True) -> ModelSpec:
    """input_ids, and attention_mask if `mask`, int64 [T] -> text_embeds float32 [D]."""
    inputs = ("input_ids", "attention_mask") if mask else ("input_ids",)
    return network_spec(
        name,
        inputs=tuple(TensorSpec(tensor, "INT64", (text_length,)) for tensor in inputs),
        outputs=(TensorSpec(TEXT_EMBEDS, "FP32", (embed_dim,)),),
        max_batch_size=32,
    )
