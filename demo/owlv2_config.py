"""The shape of the demo OWLv2, and its processor."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from transformers import (
    CLIPModel,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2Processor,
    Owlv2TextConfig,
    Owlv2VisionConfig,
)
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil

from demo.clip_config import PATCH, TEXT_TOWER, VISION_TOWER, text_tower
from demo.vocabulary import clip_tokenizer

EDGE = 192
GRID = EDGE // PATCH
TEXT_WIDTH = TEXT_TOWER["hidden_size"]
# The class head scores (cosine + shift) * (elu(scale) + 1): at first 0 at a cosine of 0.4.
FIRST_SHIFT, FIRST_SCALE = -0.4, 9.0
HEAD_STD = 0.02


def processor() -> Owlv2Processor:
    """Padded bottom and right to a square, resized to 192 pixels."""
    image_processor = Owlv2ImageProcessorPil(size={"height": EDGE, "width": EDGE})
    return Owlv2Processor(image_processor, clip_tokenizer())


def model_config() -> Owlv2Config:
    """An OWLv2 of about 1.2 million parameters, with the demo CLIP's towers."""
    text = Owlv2TextConfig(**text_tower())
    vision = Owlv2VisionConfig(**VISION_TOWER, image_size=EDGE)
    # The class head compares with the text's embedding, so both widths must be equal.
    return Owlv2Config(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=TEXT_WIDTH
    )


def new_model(clip: CLIPModel) -> Owlv2ForObjectDetection:
    """An OWLv2 to train with the towers of a CLIP; its positions are enlarged bicubically.

    With transformers' own initialisation the heads never learned here.
    """
    model = Owlv2ForObjectDetection(model_config())
    weights, ours = clip.state_dict(), model.owlv2.state_dict()
    positions = "vision_model.embeddings.position_embedding.weight"
    weights[positions] = _spread(weights[positions])
    # CLIP spells the norm before its first layer differently.
    fitting = {
        key: weights[source]
        for key, value in ours.items()
        if (source := key.replace("pre_layernorm", "pre_layrnorm")) in weights
        and weights[source].shape == value.shape
    }
    model.owlv2.load_state_dict(ours | fitting)
    with torch.no_grad():
        for head in (model.class_head, model.box_head, model.objectness_head):
            for parameter in head.parameters():
                parameter.normal_(0, HEAD_STD) if parameter.ndim > 1 else parameter.zero_()
        model.class_head.logit_shift.bias.fill_(FIRST_SHIFT)
        model.class_head.logit_scale.bias.fill_(FIRST_SCALE)
    return model


def _spread(positions: torch.Tensor) -> torch.Tensor:
    """CLIP's positions, for the class token and a small square, enlarged to our square."""
    first, square = positions[:1], positions[1:]
    edge = round(len(square) ** 0.5)
    square = square.T.reshape(1, -1, edge, edge)
    square = F.interpolate(square, (GRID, GRID), mode="bicubic", align_corners=False)
    return torch.cat((first, square.flatten(2)[0].T))
