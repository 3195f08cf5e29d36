"""SAM 2.1 tiny, like facebook/sam2.1-hiera-tiny, and a tinier one with a video's memory."""

from typing import Any

import torch
from transformers import Sam2Config, Sam2Model, Sam2VideoConfig, Sam2VideoModel

from export.families.sam2 import Sam2ImageProcessorPil
from export.stand_ins.base import Build, StandIn

EDGE, WIDTH = 128, 32
LARGE = 0.2
STAGES = [16, 32, 64, 128]
VISION: dict[str, Any] = {
    "backbone_config": {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": STAGES[0],
        "image_size": [EDGE, EDGE],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": STAGES,
        "num_attention_heads_per_stage": [1, 1, 2, 4],
        "window_size_per_stage": [8, 4, 6, 4],
        "global_attention_blocks": [3],
        "initializer_range": LARGE,
    },
    "backbone_channel_list": STAGES[::-1],
    "backbone_feature_sizes": [[EDGE // stride, EDGE // stride] for stride in (4, 8, 16)],
    "fpn_hidden_size": WIDTH,
}
DECODER = {"hidden_size": WIDTH, "mlp_dim": 64, "num_attention_heads": 4, "iou_head_hidden_dim": 32}
# Settings of the part that pictures do not use.
MEMORY = {
    "image_size": EDGE,
    "memory_attention_hidden_size": WIDTH,
    "memory_attention_num_layers": 1,
    "memory_attention_feed_forward_hidden_size": 64,
    "memory_attention_rope_feat_sizes": [EDGE // 16, EDGE // 16],
    "memory_encoder_hidden_size": WIDTH,
    "memory_encoder_output_channels": 16,
    "mask_downsampler_embed_dim": WIDTH,
    "memory_fuser_embed_dim": WIDTH,
    "memory_fuser_intermediate_dim": 64,
}


def _tiny_of_videos() -> StandIn:
    prompt = {"hidden_size": WIDTH, "image_size": EDGE}
    config = Sam2VideoConfig(
        vision_config=VISION,
        prompt_encoder_config=prompt,
        mask_decoder_config=DECODER,
        **MEMORY,
    )
    model = Sam2VideoModel(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Small weights make all masks alike; positions, and the embedding for a picture without
            # a past, start at zero.
            decodes = name.startswith("mask_decoder") and parameter.ndim > 1
            if decodes or "pos_embed" in name or "no_memory_embedding" in name:
                parameter.normal_(0, LARGE)
    return StandIn(model, Sam2ImageProcessorPil(size={"height": EDGE, "width": EDGE}))


def _hiera_tiny() -> StandIn:
    return StandIn(Sam2Model(Sam2Config()), Sam2ImageProcessorPil())


TINY: dict[str, Build] = {"sam2_video": _tiny_of_videos}
REAL: dict[str, Build] = {"sam2": _hiera_tiny}
