"""SegFormer like nvidia/segformer-b0-finetuned-ade-512-512, and a tiny one."""

from __future__ import annotations

import torch
from transformers import SegformerConfig, SegformerForSemanticSegmentation
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from export.stand_ins.base import Build, StandIn, settle_batch_norms


def _of(config: SegformerConfig, edge: int) -> StandIn:
    model = SegformerForSemanticSegmentation(config)
    settle_batch_norms(model, lambda: model(pixel_values=torch.randn(2, 3, edge, edge)))
    return StandIn(model, SegformerImageProcessorPil(size={"height": edge, "width": edge}))


def _tiny() -> StandIn:
    config = SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[8, 16, 24, 32],
        decoder_hidden_size=32,
        id2label={0: "sky", 1: "snow", 2: "tree", 3: "man", 4: "dog"},
    )
    return _of(config, 64)


def _b0() -> StandIn:
    return _of(SegformerConfig(num_labels=150), 512)


TINY: dict[str, Build] = {"segformer": _tiny}
REAL: dict[str, Build] = {"segformer-b0-ade": _b0}
