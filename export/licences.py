"""The licences of code and weights: from the model card, or else the family's.

Sources are the model cards of the headline checkpoints and the repositories of the code, as of
2026; read a checkpoint's own card before serving it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from huggingface_hub import ModelCard

MODEL_CARD = "README.md"
APACHE, MIT = "Apache-2.0", "MIT"
CC_BY_NC, CC_BY_NC_SA = "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0"
UNKNOWN = "not stated"
# Spellings that mark a licence as one that does not allow commercial use.
_NON_COMMERCIAL = ("-nc", "noncommercial", "non-commercial", "research")


@dataclass(frozen=True)
class Licence:
    """An architecture's licences: the code that its weights come from, and its known weights."""

    code: str
    weights: str


LICENCES: Mapping[str, Licence] = {
    "align": Licence(APACHE, UNKNOWN),
    "clip": Licence(MIT, "MIT (OpenAI, LAION); CC-BY-NC-4.0 (MetaCLIP)"),
    "convnext": Licence(MIT, APACHE),
    "convnextv2": Licence(MIT, "Apache-2.0 (hub); CC-BY-NC-4.0 (upstream)"),
    "d_fine": Licence(APACHE, APACHE),
    "detr": Licence(APACHE, APACHE),
    "dino": Licence(APACHE, APACHE),
    "dinov2": Licence(APACHE, APACHE),
    "dinov3": Licence("DINOv3 License", "DINOv3 License, gated"),
    "efficientnet": Licence(APACHE, APACHE),
    "grounding_dino": Licence(APACHE, APACHE),
    "hq_sam": Licence(APACHE, APACHE),
    "imagebind": Licence(CC_BY_NC_SA, CC_BY_NC_SA),
    "mask2former": Licence(MIT, "MIT; those of Swin and of the data sets differ"),
    "mobile_sam": Licence(APACHE, APACHE),
    "metaclip_2": Licence(CC_BY_NC, CC_BY_NC),
    "open_clip": Licence(MIT, "mostly MIT, by checkpoint"),
    "owlv2": Licence(APACHE, APACHE),
    "owlvit": Licence(APACHE, APACHE),
    "rt_detr": Licence(APACHE, APACHE),
    "sam": Licence(APACHE, APACHE),
    "sam2": Licence(APACHE, APACHE),
    "segformer": Licence("NVIDIA Source Code License, research", "research only"),
    "siglip": Licence(APACHE, APACHE),
    "yolo_nas": Licence(APACHE, "Deci: not for managed services"),
    "yolov8": Licence("AGPL-3.0", "AGPL-3.0"),
}


def weights_licence(family: str, folder: Path) -> str:
    """The licence of a checkpoint's weights: from the model card beside them, else the family's."""
    return _stated(folder / MODEL_CARD) or LICENCES.get(family, Licence("", UNKNOWN)).weights


def _stated(card: Path) -> str:
    """The licence in a model card's head, or ""."""
    try:
        data = ModelCard.load(card).data
    except (OSError, ValueError, yaml.YAMLError):  # no card, or an invalid head
        return ""
    stated = data.get("license_name") if data.get("license") == "other" else data.get("license")
    return str(stated or "")


def is_non_commercial(licence: str) -> bool:
    """Whether a licence, as far as it can be read, forbids commercial use of the weights.

    Several licences ("MIT; CC-BY-NC-4.0 (…)") depend on the checkpoint, so the answer is no.
    """
    parts = licence.lower().split(";")
    return all(any(mark in part for mark in _NON_COMMERCIAL) for part in parts)
