"""Mask2Former like facebook/mask2former-swin-tiny-coco-panoptic, and a tiny one."""

from __future__ import annotations

import torch
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig
from transformers.models.mask2former.image_processing_pil_mask2former import (
    Mask2FormerImageProcessorPil,
)

from export.stand_ins.base import Build, StandIn

STAGES = ["stage1", "stage2", "stage3", "stage4"]


# Random heads hardly tell classes and places apart; trained ones are about this much surer.
SURE = 60.0


def _of(config: Mask2FormerConfig, edge: int) -> StandIn:
    model = Mask2FormerForUniversalSegmentation(config)
    embedder = model.model.transformer_module.decoder.mask_predictor.mask_embedder
    with torch.no_grad():
        model.class_predictor.weight.mul_(SURE)
        embedder.layers[-1].layers[0].weight.mul_(SURE)
    processor = Mask2FormerImageProcessorPil(
        size={"height": edge, "width": edge}, size_divisor=32, ignore_index=255
    )
    return StandIn(model, processor)


def _tiny() -> StandIn:
    backbone = SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        out_features=STAGES,
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        encoder_layers=1,
        decoder_layers=3,
        num_attention_heads=4,
        num_queries=12,
        id2label={0: "sky", 1: "snow", 2: "tree", 3: "man", 4: "dog"},
    )
    return _of(config, 64)


def _swin_tiny() -> StandIn:
    backbone = SwinConfig(image_size=384, window_size=12, depths=[2, 2, 6, 2], out_features=STAGES)
    return _of(Mask2FormerConfig(backbone_config=backbone, num_labels=133), 384)


TINY: dict[str, Build] = {"mask2former": _tiny}
REAL: dict[str, Build] = {"mask2former-swin-tiny-coco": _swin_tiny}
