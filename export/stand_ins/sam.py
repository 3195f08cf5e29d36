"""SAM ViT-B, like facebook/sam-vit-base."""

from transformers import SamConfig, SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from export.stand_ins.base import Build, StandIn


def _base() -> StandIn:
    return StandIn(SamModel(SamConfig()), SamImageProcessorPil())


REAL: dict[str, Build] = {"sam": _base}
