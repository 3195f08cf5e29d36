"""DINO ViT-S/16, like facebook/dino-vits16, and a tiny one."""

from typing import Any

from transformers import ViTConfig, ViTModel
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from export.stand_ins.base import Build, StandIn

# A random class token hardly sees the picture unless layers start larger than by default.
TINY_SHAPE: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "initializer_range": 0.2,
}
IMAGENET = {"image_mean": IMAGENET_DEFAULT_MEAN, "image_std": IMAGENET_DEFAULT_STD}


def _stand_in(edge: int, **shape: Any) -> StandIn:
    model = ViTModel(ViTConfig(image_size=edge, **shape), add_pooling_layer=False)
    size = {"height": edge, "width": edge}
    return StandIn(model, ViTImageProcessorPil(size=size, **IMAGENET))


def _tiny() -> StandIn:
    return _stand_in(64, intermediate_size=96, **TINY_SHAPE)


def _small() -> StandIn:
    return _stand_in(224, hidden_size=384, num_attention_heads=6, intermediate_size=1536)


TINY: dict[str, Build] = {"dino": _tiny}
REAL: dict[str, Build] = {"dino": _small}
