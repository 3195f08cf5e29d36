"""The shape of the demo GroundingDINO, and its processor."""

from __future__ import annotations

from transformers import (
    BertConfig,
    GroundingDinoConfig,
    GroundingDinoProcessor,
    SwinConfig,
)
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)

from demo.vocabulary import BERT_MAX_TOKENS, bert_tokenizer, bert_vocabulary

EDGE = 192
WIDTH = 96
QUERIES = 20


def backbone_config() -> SwinConfig:
    """A Swin with maps at strides 16 and 32."""
    return SwinConfig(
        image_size=EDGE,
        patch_size=4,
        embed_dim=32,
        depths=[1, 1, 2, 1],
        num_heads=[1, 2, 4, 8],
        window_size=6,
        mlp_ratio=3.0,
        drop_path_rate=0.0,
        out_features=["stage3", "stage4"],
    )


def text_config() -> BertConfig:
    """Two layers over the demo world's words."""
    return BertConfig(
        vocab_size=len(bert_vocabulary()),
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=BERT_MAX_TOKENS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def model_config() -> GroundingDinoConfig:
    """A two-stage GroundingDINO of about 2.5 million parameters."""
    return GroundingDinoConfig(
        backbone_config=backbone_config(),
        text_config=text_config(),
        d_model=WIDTH,
        num_queries=QUERIES,
        num_feature_levels=3,
        max_text_len=BERT_MAX_TOKENS,
        encoder_layers=1,
        encoder_ffn_dim=256,
        encoder_attention_heads=4,
        decoder_layers=2,
        decoder_ffn_dim=256,
        decoder_attention_heads=4,
        dropout=0.0,
        fusion_droppath=0.0,
    )


def processor() -> GroundingDinoProcessor:
    """Longest edge 192, padded bottom and right to a square."""
    image_processor = GroundingDinoImageProcessorPil(
        size={"shortest_edge": EDGE, "longest_edge": EDGE},
        do_pad=True,
        pad_size={"height": EDGE, "width": EDGE},
    )
    return GroundingDinoProcessor(image_processor, bert_tokenizer())
