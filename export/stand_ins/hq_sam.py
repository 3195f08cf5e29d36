"""HQ-SAM ViT-B, like syscv-community/sam-hq-vit-base."""

from transformers import SamHQConfig, SamHQModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from export.stand_ins.base import Build, StandIn


def _base() -> StandIn:
    return StandIn(SamHQModel(SamHQConfig()), SamImageProcessorPil())


REAL: dict[str, Build] = {"hq_sam": _base}
