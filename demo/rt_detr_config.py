"""The shape of the demo RT-DETR, and the processor that goes with it."""

from __future__ import annotations

from transformers import RTDetrConfig, RTDetrForObjectDetection, SwinBackbone
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

from demo.grounding_dino_config import backbone_config
from demo.pixels import IMAGENET_MEAN, IMAGENET_STD
from demo.stored_scenes import EDGE
from demo.things import LABELS

# Strides of the backbone's two maps.
STRIDES = (16, 32)
WIDTH = 96
QUERIES = 30


def image_processor() -> RTDetrImageProcessorPil:
    """Squashes pictures to a square of `EDGE` pixels; normalises as in the backbone's training."""
    return RTDetrImageProcessorPil(
        size={"height": EDGE, "width": EDGE},
        do_normalize=True,
        image_mean=list(IMAGENET_MEAN),
        image_std=list(IMAGENET_STD),
    )


def model_config() -> RTDetrConfig:
    """An RT-DETR of 1.9 million parameters with the demo GroundingDINO's backbone."""
    backbone = backbone_config()
    widths = [backbone.embed_dim * 4, backbone.embed_dim * 8]
    return RTDetrConfig(
        backbone_config=backbone,
        encoder_in_channels=widths,
        feat_strides=list(STRIDES),
        encode_proj_layers=[1],
        encoder_hidden_dim=WIDTH,
        encoder_ffn_dim=2 * WIDTH,
        encoder_attention_heads=4,
        hidden_expansion=0.5,
        d_model=WIDTH,
        decoder_in_channels=[WIDTH] * len(STRIDES),
        num_feature_levels=len(STRIDES),
        decoder_ffn_dim=2 * WIDTH,
        decoder_attention_heads=4,
        decoder_layers=2,
        num_queries=QUERIES,
        num_denoising=0,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )


def new_model(swin: SwinBackbone) -> RTDetrForObjectDetection:
    """An RT-DETR to train on the backbone of a trained GroundingDINO."""
    model = RTDetrForObjectDetection(model_config())
    model.model.backbone.model.load_state_dict(swin.state_dict())
    return model
