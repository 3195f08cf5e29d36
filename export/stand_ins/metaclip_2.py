"""MetaCLIP 2: a ViT-B/32 with XLM-V's vocabulary, a tiny one, and a tiny one with wide texts."""

from typing import Any

from transformers import MetaClip2Config, MetaClip2Model

from export.stand_ins.base import Build, StandIn
from export.stand_ins.clip import EDGE, TEXT_LENGTH, WIDTH, processor
from export.stand_ins.tokenizers import xlm_roberta_tokenizer

# Their table alone takes 1.8 GB at ViT-B/32's width.
XLM_V_TOKENS = 901_629


def _stand_in(edge: int, tokens: int, text: dict[str, Any], **config: Any) -> StandIn:
    tokenizer = xlm_roberta_tokenizer(tokens)
    read = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    read |= {"bos_token_id": tokenizer.bos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = MetaClip2Model(MetaClip2Config(text_config=text | read, **config))
    return StandIn(model, processor(edge), tokenizer)


def _tiny() -> StandIn:
    text = {**WIDTH, "max_position_embeddings": TEXT_LENGTH}
    vision = {**WIDTH, "image_size": EDGE, "patch_size": 16}
    return _stand_in(EDGE, 0, text, vision_config=vision, projection_dim=WIDTH["projection_dim"])


def large() -> StandIn:
    """A tiny one whose text network exceeds protobuf's 2 GiB."""
    text = {**WIDTH, "hidden_size": 640, "max_position_embeddings": TEXT_LENGTH}
    vision = {**WIDTH, "image_size": EDGE, "patch_size": 16}
    dim = WIDTH["projection_dim"]
    return _stand_in(EDGE, XLM_V_TOKENS, text, vision_config=vision, projection_dim=dim)


def _base() -> StandIn:
    return _stand_in(224, XLM_V_TOKENS, {})


TINY: dict[str, Build] = {"metaclip_2": _tiny}
REAL: dict[str, Build] = {"metaclip_2": _base}
