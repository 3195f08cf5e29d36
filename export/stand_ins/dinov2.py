"""DINOv2 ViT-B/14, like facebook/dinov2-base, and tiny ones for what other checkpoints vary."""

from typing import Any

from transformers import (
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
)
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

from export.stand_ins.base import Build, StandIn
from export.stand_ins.dino import IMAGENET, TINY_SHAPE

# Like real checkpoints: the position table is for larger pictures than the processor makes.
TINY_POSITIONS, TINY_CROP, TINY_RESIZED = 112, 56, 64


def _stand_in(model: Any, crop: int, resized: int) -> StandIn:
    size, crop_size = {"shortest_edge": resized}, {"height": crop, "width": crop}
    return StandIn(model, BitImageProcessorPil(size=size, crop_size=crop_size, **IMAGENET))


def _tiny_giant() -> StandIn:
    config = Dinov2Config(image_size=TINY_POSITIONS, use_swiglu_ffn=True, **TINY_SHAPE)
    return _stand_in(Dinov2Model(config), TINY_CROP, TINY_RESIZED)


def _tiny_with_registers() -> StandIn:
    config = Dinov2WithRegistersConfig(image_size=TINY_POSITIONS, patch_size=14, **TINY_SHAPE)
    return _stand_in(Dinov2WithRegistersModel(config), TINY_CROP, TINY_RESIZED)


def _base() -> StandIn:
    return _stand_in(Dinov2Model(Dinov2Config(image_size=518)), 224, 256)


TINY: dict[str, Build] = {
    "dinov2_giant": _tiny_giant,
    "dinov2_with_registers": _tiny_with_registers,
}
REAL: dict[str, Build] = {"dinov2": _base}
