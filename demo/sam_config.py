"""The shape of the demo SAM, and its processor."""

from __future__ import annotations

import torch
from transformers import (
    SamConfig,
    SamMaskDecoderConfig,
    SamModel,
    SamProcessor,
    SamPromptEncoderConfig,
    SamVisionConfig,
)
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

EDGE = 192
PATCH = 12
LOW_RES_EDGE = 4 * EDGE // PATCH
ENCODER_WIDTH = 320
DECODER_WIDTH = 128


def processor() -> SamProcessor:
    """Longest edge 192, padded bottom and right to a square."""
    image_processor = SamImageProcessorPil(
        size={"longest_edge": EDGE},
        mask_size={"longest_edge": LOW_RES_EDGE},
        pad_size={"height": EDGE, "width": EDGE},
        mask_pad_size={"height": LOW_RES_EDGE, "width": LOW_RES_EDGE},
    )
    return SamProcessor(image_processor)


def model_config() -> SamConfig:
    """A SAM of about six million parameters; its masks have a third of the picture's resolution.

    All of its attention is global and without relative positions: on 256 cells, windows save
    nothing, and the tables cost a third of the training speed.
    """
    vision = SamVisionConfig(
        hidden_size=ENCODER_WIDTH,
        output_channels=DECODER_WIDTH,
        num_hidden_layers=6,
        num_attention_heads=5,
        image_size=EDGE,
        patch_size=PATCH,
        initializer_range=0.02,
        mlp_dim=2 * ENCODER_WIDTH,
        window_size=0,
        global_attn_indexes=list(range(6)),
        use_rel_pos=False,
        num_pos_feats=DECODER_WIDTH // 2,
    )
    prompt = SamPromptEncoderConfig(hidden_size=DECODER_WIDTH, image_size=EDGE, patch_size=PATCH)
    decoder = SamMaskDecoderConfig(
        hidden_size=DECODER_WIDTH,
        mlp_dim=2 * DECODER_WIDTH,
        num_attention_heads=4,
        iou_head_hidden_dim=DECODER_WIDTH,
    )
    return SamConfig(
        vision_config=vision.to_dict(),
        prompt_encoder_config=prompt.to_dict(),
        mask_decoder_config=decoder.to_dict(),
    )


def new_model() -> SamModel:
    """A SAM to train.

    transformers draws the frequencies of the positional encoding much higher than the original
    segment-anything (`PositionEmbeddingRandom`, scale 1); these are the original's.
    """
    model = SamModel(model_config())
    with torch.no_grad():
        model.shared_image_embedding.positional_embedding.normal_(0, 1)
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(
            model.shared_image_embedding.positional_embedding
        )
    return model
