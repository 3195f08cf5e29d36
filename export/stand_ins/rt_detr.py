"""RT-DETR like PekingU/rtdetr_r50vd (transformers' default) and rtdetr_v2_r18vd."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import (
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    RTDetrV2Config,
    RTDetrV2ForObjectDetection,
)
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.rt_detr.modeling_rt_detr_resnet import (
    RTDetrResNetBasicLayer,
    RTDetrResNetBottleNeckLayer,
)

from export.network import sample_pixels
from export.stand_ins.base import ADDED, Build, StandIn, add_noise, settle_batch_norms

# Not square, so that swapping height and width shows.
TINY_SIZE = {"height": 64, "width": 96}
# Pictures to settle on; enough that no channel's variance is small by chance.
SETTLED_ON = 8
# Box heads start at zero, and class heads nearly alike: the last bit would choose the proposals.
# Relative to the weights' own size; with more, refinement amplifies a difference.
HEAD_NOISE = 0.7
TINY_NAMES = ("cat", "traffic light", "St. Bernard", "猫", "person")


def tiny_config(cls: Any, **more: Any) -> Any:
    """The smallest network of this kind that has all of its parts."""
    backbone = RTDetrResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 12, 16, 20],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_indices=[2, 3, 4],
    )
    sizes: dict[str, Any] = {
        "backbone_config": backbone,
        "encoder_hidden_dim": 32,
        "encoder_in_channels": [12, 16, 20],
        "encoder_ffn_dim": 32,
        "encoder_attention_heads": 4,
        "d_model": 32,
        "num_queries": 12,
        "decoder_in_channels": [32, 32, 32],
        "decoder_ffn_dim": 32,
        "decoder_layers": 2,
        "decoder_attention_heads": 4,
        "decoder_n_points": 2,
        "num_denoising": 4,
        "id2label": dict(enumerate(TINY_NAMES)),
    }
    return cls(**{**sizes, **more})


def settled(cls: Any, config: Any, processor: Any, pictures: int = 2) -> StandIn:
    """A checkpoint with settled batch norms, and with boxes that are not the anchors."""
    model = cls(config).eval()
    add_noise(model)
    height, width = processor.size["height"], processor.size["width"]
    pixels = sample_pixels(np.random.default_rng(0), (pictures, 3, height, width), (height, width))
    values = torch.from_numpy(pixels).float() / 255
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(head in name for head in ("bbox", "class_embed", "enc_score_head")):
                noise = HEAD_NOISE / parameter.shape[-1] ** 0.5
                parameter.add_(noise * torch.randn_like(parameter))
        for module in model.modules():
            if hasattr(module, "running_var"):
                module.weight.fill_(1.0)  # transformers draws those of the encoder around 0
        for module in model.modules():
            if isinstance(module, (RTDetrResNetBasicLayer, RTDetrResNetBottleNeckLayer)):
                module.layer[-1].normalization.weight.fill_(ADDED)
        settle_batch_norms(model, lambda: model(pixel_values=values))
        # Otherwise one class would win everywhere.
        logits = model(pixel_values=values).logits
        model.model.decoder.class_embed[-1].bias.sub_(logits.mean((0, 1)))
    return StandIn(model, processor, noise=False)


def _tiny() -> StandIn:
    processor = RTDetrImageProcessorPil(size=TINY_SIZE)
    return settled(RTDetrForObjectDetection, tiny_config(RTDetrConfig), processor, SETTLED_ON)


def _tiny_v2() -> StandIn:
    processor = RTDetrImageProcessorPil(size=TINY_SIZE)
    config = tiny_config(RTDetrV2Config)
    return settled(RTDetrV2ForObjectDetection, config, processor, SETTLED_ON)


def _real() -> StandIn:
    config = RTDetrConfig(num_labels=80)
    return settled(RTDetrForObjectDetection, config, RTDetrImageProcessorPil())


def _real_v2() -> StandIn:
    backbone = RTDetrResNetConfig(
        hidden_sizes=[64, 128, 256, 512],
        depths=[2, 2, 2, 2],
        layer_type="basic",
        out_indices=[2, 3, 4],
    )
    config = RTDetrV2Config(
        backbone_config=backbone,
        encoder_in_channels=[128, 256, 512],
        hidden_expansion=0.5,
        decoder_layers=3,
        num_labels=80,
    )
    return settled(RTDetrV2ForObjectDetection, config, RTDetrImageProcessorPil())


TINY: dict[str, Build] = {"rt_detr": _tiny, "rt_detr_v2": _tiny_v2}
REAL: dict[str, Build] = {"rtdetr_r50vd": _real, "rtdetr_v2_r18vd": _real_v2}
