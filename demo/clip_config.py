"""The shape of the demo CLIP, and the processor that goes with it."""

from __future__ import annotations

from transformers import CLIPConfig, CLIPProcessor, CLIPTextConfig, CLIPVisionConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from demo.vocabulary import CLIP_MAX_TOKENS, clip_tokenizer

EDGE = 96
PATCH = 12
PROJECTION = 128


def processor() -> CLIPProcessor:
    """Shortest edge 96, bicubic, central square."""
    image_processor = CLIPImageProcessorPil(
        size={"shortest_edge": EDGE}, crop_size={"height": EDGE, "width": EDGE}
    )
    return CLIPProcessor(image_processor, clip_tokenizer())


def model_config() -> CLIPConfig:
    """A CLIP of about 1.1 million parameters."""
    tokenizer = clip_tokenizer()
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        intermediate_size=192,
        projection_dim=PROJECTION,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=CLIP_MAX_TOKENS,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=384,
        projection_dim=PROJECTION,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=EDGE,
        patch_size=PATCH,
    )
    return CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=PROJECTION
    )
