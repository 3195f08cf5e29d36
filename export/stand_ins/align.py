"""ALIGN with EfficientNet-B7 and BERT base, like kakaobrain/align-base; and a tiny one."""

from typing import Any

import torch
from torch import nn
from transformers import AlignConfig, AlignModel
from transformers.models.align.modeling_align import AlignVisionFinalBlockLayer
from transformers.models.efficientnet.image_processing_pil_efficientnet import (
    EfficientNetImageProcessorPil,
)

from export.stand_ins.base import ADDED, Build, StandIn, settle_batch_norms
from export.stand_ins.tokenizers import bert_tokenizer

BILINEAR = 2
SETTLED_ON = 8
# With its own initial weights, the vector does not depend on the picture.
WEIGHTS = 0.2


def _stand_in(edge: int, resized: int, **config: Any) -> StandIn:
    model = AlignModel(AlignConfig(temperature_init_value=0.1, **config))
    for module in model.vision_model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=WEIGHTS)
        if isinstance(module, AlignVisionFinalBlockLayer) and module.apply_dropout:
            nn.init.constant_(module.project_bn.weight, ADDED)
    pixels = torch.randn(SETTLED_ON, 3, edge, edge)
    settle_batch_norms(model, lambda: model.vision_model(pixel_values=pixels))
    processor = EfficientNetImageProcessorPil(
        size={"height": resized, "width": resized},
        crop_size={"height": edge, "width": edge},
        resample=BILINEAR,
        do_center_crop=True,
        do_normalize=False,
        include_top=False,
        rescale_factor=1 / 127.5,
        rescale_offset=True,
    )
    return StandIn(model, processor, bert_tokenizer(), "[PAD]")


def _tiny() -> StandIn:
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 2, "max_position_embeddings": 64, "initializer_range": WEIGHTS}
    vision = {
        "width_coefficient": 0.25,
        "depth_coefficient": 0.5,
        "num_block_repeats": [1, 1, 2, 1, 1, 2, 1],
    }
    return _stand_in(49, 60, text_config=text, vision_config=vision, projection_dim=80)


def _base() -> StandIn:
    return _stand_in(289, 346)


TINY: dict[str, Build] = {"align": _tiny}
REAL: dict[str, Build] = {"align": _base}
