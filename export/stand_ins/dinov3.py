"""DINOv3 ViT-S/16, like facebook/dinov3-vits16-pretrain-lvd1689m, and a tiny one."""

from typing import Any

from transformers import DINOv3ViTConfig, DINOv3ViTModel

from export.families.dinov3 import DINOv3ViTImageProcessorPil
from export.stand_ins.base import Build, StandIn
from export.stand_ins.dino import TINY_SHAPE

REGISTERS = 4


def _stand_in(edge: int, **shape: Any) -> StandIn:
    config = DINOv3ViTConfig(image_size=edge, num_register_tokens=REGISTERS, **shape)
    size = {"height": edge, "width": edge}
    return StandIn(DINOv3ViTModel(config), DINOv3ViTImageProcessorPil(size=size))


def _tiny() -> StandIn:
    return _stand_in(64, intermediate_size=96, **TINY_SHAPE)


def _small() -> StandIn:
    return _stand_in(224)


TINY: dict[str, Build] = {"dinov3": _tiny}
REAL: dict[str, Build] = {"dinov3": _small}
