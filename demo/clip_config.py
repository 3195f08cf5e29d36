"""The shape of the demo CLIP, whose towers others share, and its processor."""

from __future__ import annotations

from typing import Any

from transformers import CLIPConfig, CLIPProcessor, CLIPTextConfig, CLIPVisionConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from demo.vocabulary import CLIP_MAX_TOKENS, clip_tokenizer

EDGE = 96
PATCH = 12
PROJECTION = 128
# The demo's two towers, as the configs of CLIP, OWLv2 and SigLIP name their sizes.
VISION_TOWER = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "patch_size": PATCH,
}
TEXT_TOWER = {
    "hidden_size": 96,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def processor() -> CLIPProcessor:
    """Shortest edge 96, bicubic, central square."""
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": EDGE}, crop_size={"height": EDGE, "width": EDGE}
    )
    return CLIPProcessor(image_processor, clip_tokenizer())


def text_tower() -> dict[str, Any]:
    """The text tower for CLIP's tokens."""
    tokenizer = clip_tokenizer()
    return TEXT_TOWER | {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": CLIP_MAX_TOKENS,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def model_config() -> CLIPConfig:
    """A CLIP of about 1.1 million parameters."""
    text = CLIPTextConfig(**text_tower(), projection_dim=PROJECTION)
    vision = CLIPVisionConfig(**VISION_TOWER, image_size=EDGE, projection_dim=PROJECTION)
    return CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=PROJECTION
    )
