"""OWL-ViT B/32, as google/owlvit-base-patch32 is built, and a tiny one."""

from typing import Any

import torch
from transformers import OwlViTConfig, OwlViTForObjectDetection
from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

from export.stand_ins.base import Build, StandIn
from export.stand_ins.tokenizers import clip_tokenizer

EDGE, PATCH, TINY_EDGE = 768, 32, 96
PAD = "!"
# Layers that start larger than by default: patches would be alike, and logits all the same.
TINY_TOWER = {
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.2,
}
# Of the tokenizer; a text is read where its end stands.
TEXT = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407, "pad_token_id": 0}


def _stand_in(model: Any, edge: int, *, head_std: float) -> StandIn:
    """head_std: of the weights of the heads, whose own are so large that boxes are all at an end.

    There float32 is off by 8e-4 of float64, in PyTorch itself.
    """
    with torch.no_grad():
        for head in (model.class_head, model.box_head):
            for parameter in head.parameters():
                parameter.normal_(0, head_std)
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
