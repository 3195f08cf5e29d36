"""GroundingDINO tiny, like IDEA-Research/grounding-dino-tiny."""

import torch
from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)

from export.stand_ins.base import Build, StandIn
from export.stand_ins.tokenizers import bert_tokenizer

# The initial weights hardly fuse text and picture; trained ones do.
FUSION = 0.1


def _tiny() -> StandIn:
    model = GroundingDinoForObjectDetection(GroundingDinoConfig())
    fuse(model)
    return StandIn(model, GroundingDinoImageProcessorPil(), bert_tokenizer(), "[PAD]")


def fuse(model: torch.nn.Module) -> None:
    """Make text and picture attend to each other."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("vision_param", "text_param")):
                parameter.fill_(FUSION)


REAL: dict[str, Build] = {"grounding_dino": _tiny}
