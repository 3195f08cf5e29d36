"""The shape of the demo DINOv2, and its processor."""

from __future__ import annotations

import torch
from torch import nn
from transformers import CLIPModel, Dinov2Config, Dinov2Model
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

from demo.clip_config import EDGE, PATCH, VISION_TOWER
from demo.pixels import IMAGENET_MEAN, IMAGENET_STD

# The shortest edge before the crop of `EDGE`.
RESIZED = 104


def processor() -> BitImageProcessorPil:
    """Shortest edge 104, bicubic, central square of 96; DINOv2's own has 256 and 224."""
    return BitImageProcessorPil(
        size={"shortest_edge": RESIZED},
        crop_size={"height": EDGE, "width": EDGE},
        image_mean=list(IMAGENET_MEAN),
        image_std=list(IMAGENET_STD),
    )


def model_config() -> Dinov2Config:
    """A DINOv2 of about 0.7 million parameters, as wide as the demo CLIP's picture tower."""
    width = VISION_TOWER["hidden_size"]
    return Dinov2Config(
        hidden_size=width,
        num_hidden_layers=VISION_TOWER["num_hidden_layers"],
        num_attention_heads=VISION_TOWER["num_attention_heads"],
        mlp_ratio=VISION_TOWER["intermediate_size"] // width,
        hidden_act="quick_gelu",
        image_size=EDGE,
        patch_size=PATCH,
        use_mask_token=False,
    )


def new_model(clip: CLIPModel) -> Dinov2Model:
    """A DINOv2 to train, whose patches and layers start as those of a CLIP."""
    model, tower = Dinov2Model(model_config()), clip.vision_model
    ours, theirs = model.embeddings, tower.embeddings
    with torch.no_grad():
        ours.cls_token.copy_(theirs.class_embedding.view(1, 1, -1))
        ours.position_embeddings.copy_(theirs.position_embedding.weight[None])
        ours.patch_embeddings.projection.weight.copy_(theirs.patch_embedding.weight)
    _copy(model.layernorm, tower.post_layernorm)
    for layer, source in zip(model.encoder.layer, tower.encoder.layers, strict=True):
        attention, other = layer.attention, source.self_attn
        _copy(layer.norm1, source.layer_norm1)
        _copy(layer.norm2, source.layer_norm2)
        _copy(layer.mlp, source.mlp)
        _copy(attention.q_proj, other.q_proj)
        _copy(attention.k_proj, other.k_proj)
        _copy(attention.v_proj, other.v_proj)
        _copy(attention.o_proj, other.out_proj)
    return model


def _copy(ours: nn.Module, theirs: nn.Module) -> None:
    ours.load_state_dict(theirs.state_dict())
