"""The torch side of each family, in the file of the same name as in `fovea/families`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fovea.families import with_entry_points

if TYPE_CHECKING:
    from export.family import FamilyExport
    from export.precision import Policy
    from fovea.deployment import Deployment

# See `fovea.families`, the other half of each family.
ENTRY_POINTS = "fovea.export_families"
FAMILIES = {
    "align": "export.families.align:AlignExport",
    "clip": "export.families.clip:ClipExport",
    "dino": "export.families.dino:DinoExport",
    "dinov2": "export.families.dinov2:Dinov2Export",
    "dinov3": "export.families.dinov3:Dinov3Export",
    "convnext": "export.families.convnext:ConvNextExport",
    "convnextv2": "export.families.convnextv2:ConvNextV2Export",
    "efficientnet": "export.families.efficientnet:EfficientNetExport",
    "grounding_dino": "export.families.grounding_dino:GroundingDinoExport",
    "imagebind": "export.families.imagebind:ImageBindExport",
    "metaclip_2": "export.families.metaclip_2:MetaClip2Export",
    "open_clip": "export.families.open_clip:OpenClipExport",
    "owlv2": "export.families.owlv2:Owlv2Export",
    "owlvit": "export.families.owlvit:OwlvitExport",
    "mask2former": "export.families.mask2former:Mask2FormerExport",
    "segformer": "export.families.segformer:SegformerExport",
    "siglip": "export.families.siglip:SiglipExport",
    "hq_sam": "export.families.hq_sam:HqSamExport",
    "sam": "export.families.sam:SamExport",
    "sam2": "export.families.sam2:Sam2Export",
    "mobile_sam": "export.families.mobile_sam:MobileSamExport",
    "d_fine": "export.families.d_fine:DFineExport",
    "detr": "export.families.detr:DetrExport",
    "rt_detr": "export.families.rt_detr:RtDetrExport",
    "yolo_nas": "export.families.yolo:YoloNasExport",
    "yolov8": "export.families.yolo:Yolov8Export",
}
# `model_type` in a checkpoint's config.json -> family.
MODEL_TYPES = {
    "align": "align",
    "clip": "clip",
    "d_fine": "d_fine",
    "detr": "detr",
    "dinov2": "dinov2",
    "dinov2_with_registers": "dinov2",
    "dinov3_vit": "dinov3",
    "convnext": "convnext",
    "convnextv2": "convnextv2",
    "efficientnet": "efficientnet",
    "grounding-dino": "grounding_dino",
    "metaclip_2": "metaclip_2",
    "owlv2": "owlv2",
    "owlvit": "owlvit",
    "rt_detr": "rt_detr",
    "rt_detr_v2": "rt_detr",
    "sam": "sam",
    "sam2": "sam2",
    "sam2_video": "sam2",
    "siglip": "siglip",
    "mask2former": "mask2former",
    "segformer": "segformer",
    "sam_hq": "hq_sam",
    # A ViT that was trained otherwise has another head, and is refused for it.
    "vit": "dino",
}
# The family of checkpoints that have only open_clip's configuration.
OPEN_CLIP = "open_clip"
# The family of a single file of weights, or of a folder that holds just that file.
MOBILE_SAM = "mobile_sam"
# Values of `model_type` that are not served, and what to use instead.
NOT_SERVED = {
    "siglip2": "NaFlex takes pictures of any shape: name a SigLIP 2 of a fixed resolution, such as "
    "google/siglip2-base-patch16-224",
}


@lru_cache(None)
def registry() -> Mapping[str, str]:
    """family -> "module:Class": those of this folder, and those that other packages bring."""
    return with_entry_points(ENTRY_POINTS, FAMILIES)


@lru_cache(None)
def load(family: str) -> FamilyExport:
    """The torch side of a family; raises KeyError for an unknown one."""
    module, _, name = registry()[family].partition(":")
    made: Any = getattr(import_module(module), name)()
    return made


def policies(deployment: Deployment) -> dict[str, Policy]:
    """How each network of a deployment runs in lower precision, by name."""
    return {
        member.play().network_name(part): policy
        for member in deployment.members
        for part, policy in load(member.family).POLICIES.items()
    }
