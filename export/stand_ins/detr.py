"""DETR like facebook/detr-resnet-50, with the backbone of its revision no_timm."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig
from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil

from export.network import sample_pixels
from export.stand_ins.base import Build, StandIn, add_noise, settle_batch_norms

TINY_NAMES = ("N/A", "person", "traffic light", "猫")
# Spread of the queries, and gain of attention: otherwise all queries answer the same.
QUERY_STD, QUIET = 3.0, 0.3
# COCO's ids go up to 90, some without a class.
COCO_IDS = 91


def _tiny() -> StandIn:
    backbone = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 12, 16, 20],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_features=["stage4"],
    )
    config = DetrConfig(
        backbone_config=backbone,
        use_timm_backbone=False,
        num_queries=10,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        id2label=dict(enumerate(TINY_NAMES)),
    )
    size = {"shortest_edge": 96, "longest_edge": 128}
    return _settled(config, DetrImageProcessorPil(size=size), edge=128)


def _real() -> StandIn:
    backbone = ResNetConfig(out_features=["stage4"])
    config = DetrConfig(backbone_config=backbone, use_timm_backbone=False, num_labels=COCO_IDS)
    return _settled(config, DetrImageProcessorPil(), edge=800)


def _settled(config: DetrConfig, processor: DetrImageProcessorPil, edge: int) -> StandIn:
    """A checkpoint with settled frozen batch norms and queries that differ."""
    model = DetrForObjectDetection(config).eval()
    add_noise(model)
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight, QUIET if name.endswith("o_proj") else 1.0)
    nn.init.normal_(model.model.query_position_embeddings.weight, std=QUERY_STD)
    pixels = sample_pixels(np.random.default_rng(0), (2, 3, edge, edge), (edge, edge))
    values = torch.from_numpy(pixels).float() / 127.5 - 1
    settle_batch_norms(model, lambda: model(pixel_values=values))
    with torch.no_grad():
        # Otherwise one class would win everywhere, and all boxes would lie in one place.
        out = model(pixel_values=values)
        model.class_labels_classifier.bias.sub_(out.logits.mean((0, 1)))
        model.bbox_predictor.layers[-1].bias.sub_(out.pred_boxes.logit().mean((0, 1)))
    return StandIn(model, processor, noise=False)


TINY: dict[str, Build] = {"detr": _tiny}
REAL: dict[str, Build] = {"detr_resnet_50": _real}
