"""CLIP ViT-B/32, as openai/clip-vit-base-patch32 is built."""

from transformers import CLIPConfig, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from export.stand_ins.base import Build, StandIn
from export.stand_ins.tokenizers import clip_tokenizer


def _base() -> StandIn:
    model = CLIPModel(CLIPConfig())
    return StandIn(model, CLIPImageProcessorPil(), clip_tokenizer(), "<|endoftext|>")


REAL: dict[str, Build] = {"clip": _base}
