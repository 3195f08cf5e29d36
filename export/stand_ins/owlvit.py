"""OWL-ViT B/32, like google/owlvit-base-patch32, and a tiny one."""

from typing import Any

import torch
from torch import nn
from transformers import OwlViTConfig, OwlViTForObjectDetection
from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

from export.stand_ins.base import Build, StandIn
from export.stand_ins.tokenizers import clip_tokenizer

EDGE, PATCH, TINY_EDGE = 768, 32, 96
PAD = "!"
# Layers start larger than by default: otherwise patches are alike, and so are logits.
TINY_TOWER = {
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.2,
}
# The tokenizer's ids; a text is read at its end token.
TEXT = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 0}


def with_heads(std: float, *heads: nn.Module) -> None:
    """Draw the heads' weights anew, with this deviation.

    The initial ones are so large that they saturate boxes: there, float32 is off by 8e-4 from
    float64, even in PyTorch.
    """
    with torch.no_grad():
        for head in heads:
            for parameter in head.parameters():
                parameter.normal_(0, std)


def _stand_in(model: Any, edge: int, *, head_std: float) -> StandIn:
    with_heads(head_std, model.class_head, model.box_head)
    size = {"height": edge, "width": edge}
    return StandIn(model, OwlViTImageProcessorPil(size=size), clip_tokenizer(), PAD)


def _tiny() -> StandIn:
    vision = TINY_TOWER | {"hidden_size": 48, "image_size": TINY_EDGE, "patch_size": PATCH // 2}
    text = TINY_TOWER | TEXT | {"hidden_size": 32, "max_position_embeddings": 16}
    config = OwlViTConfig(text_config=text, vision_config=vision, projection_dim=32)
    return _stand_in(OwlViTForObjectDetection(config), TINY_EDGE, head_std=0.1)


def _base() -> StandIn:
    vision = {"image_size": EDGE, "patch_size": PATCH}
    config = OwlViTConfig(text_config=TEXT, vision_config=vision)
    return _stand_in(OwlViTForObjectDetection(config), EDGE, head_std=0.02)


TINY: dict[str, Build] = {"owlvit": _tiny}
REAL: dict[str, Build] = {"owlvit": _base}
