"""GroundingDINO tiny, as IDEA-Research/grounding-dino-tiny is built."""

import torch
from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)

from export.stand_ins.base import Build, StandIn
from export.stand_ins.tokenizers import bert_tokenizer

# It starts with nearly no fusion of text and picture; trained ones have some.
FUSION = 0.1


def _tiny() -> StandIn:
    model = GroundingDinoForObjectDetection(GroundingDinoConfig())
    fuse(model)
    return StandIn(model, GroundingDinoImageProcessorPil(), bert_tokenizer(), "[PAD]")


def fuse(model: torch.nn.Module) -> None:
    """Have text and picture see each other."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("vision_param", "text_param")):
                parameter.fill_(FUSION)


REAL: dict[str, Build] = {"grounding_dino": _tiny}
