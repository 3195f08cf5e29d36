"""OWLv2 B/16, like google/owlv2-base-patch16-ensemble."""

from transformers import Owlv2Config, Owlv2ForObjectDetection
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

from export.stand_ins.base import Build, StandIn
from export.stand_ins.owlvit import PAD, TEXT, with_heads
from export.stand_ins.tokenizers import clip_tokenizer


def _base() -> StandIn:
    vision = {"image_size": 960, "patch_size": 16}
    model = Owlv2ForObjectDetection(Owlv2Config(text_config=TEXT, vision_config=vision))
    with_heads(0.02, model.class_head, model.box_head, model.objectness_head)
    return StandIn(model, Owlv2ImageProcessorPil(), clip_tokenizer(), PAD)


REAL: dict[str, Build] = {"owlv2": _base}
