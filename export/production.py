"""The production deployment from its published architecture: no weights needed.

The committed model_repository is written from these specs; exports of the real checkpoints have the
same ones (transformers' default configs are those of the three base checkpoints).
"""

from __future__ import annotations

from transformers import CLIPConfig, GroundingDinoConfig, SamConfig
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from export.deployments import read_deployment
from export.families import clip, grounding_dino, sam
from fovea.deployment import Deployment
from fovea.members import Member

# openai/CLIP clips the learned scale at 100, where ViT-B/32 ends; its padding is <|endoftext|>.
CLIP_LOGIT_SCALE = 100.0
CLIP_PAD_TOKEN_ID = 49407
BERT_PAD_TOKEN_ID = 0


def production_deployment(grounding_dino_edge: int | None = None) -> Deployment:
    """CLIP ViT-B/32, GroundingDINO tiny and SAM ViT-B, as deployments/production.toml has them."""
    specs = {
        "clip": clip.read_spec(
            CLIPConfig(), CLIPImageProcessorPil(), CLIP_PAD_TOKEN_ID, CLIP_LOGIT_SCALE
        ),
        "grounding_dino": grounding_dino.read_spec(
            GroundingDinoConfig(),
            GroundingDinoImageProcessorPil(),
            BERT_PAD_TOKEN_ID,
            grounding_dino_edge,
        ),
        "sam": sam.read_spec(SamConfig(), SamImageProcessorPil()),
    }
    members = tuple(Member(family, family, spec) for family, spec in specs.items())
    return Deployment(members=members, verbs=read_deployment("production").verbs)
