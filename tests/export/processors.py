"""The image processors of the production checkpoints: transformers' defaults are the same."""

from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil


def processors() -> dict:
    return {
        "clip": CLIPImageProcessorPil(),
        "grounding_dino": GroundingDinoImageProcessorPil(),
        "sam": SamImageProcessorPil(),
    }
