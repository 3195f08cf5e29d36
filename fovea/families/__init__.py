"""How each architecture plays its role: one file for each family, numpy only.

A family is a row here, a class of a role (`fovea.roles`) in a file of this folder, and its torch
side under the same name in `export/families`. Nothing registers itself; a class is imported on
first use. Another package adds a family by an entry point, "name = module:Class" in the group
`fovea.families`, and by one for its torch side in `fovea.export_families`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fovea.roles import Role

ENTRY_POINTS = "fovea.families"

# Named after the `model_type` of a checkpoint's config.json if that names an architecture.
FAMILIES = {
    "align": "fovea.families.align:Align",
    "clip": "fovea.families.clip:Clip",
    "dino": "fovea.families.dino:Dino",
    "dinov2": "fovea.families.dino:Dino",
    "dinov3": "fovea.families.dino:Dino",
    "convnext": "fovea.families.convnext:ConvNext",
    "convnextv2": "fovea.families.convnextv2:ConvNextV2",
    "efficientnet": "fovea.families.efficientnet:EfficientNet",
    "grounding_dino": "fovea.families.grounding_dino:GroundingDino",
    "imagebind": "fovea.families.imagebind:ImageBind",
    "metaclip_2": "fovea.families.metaclip_2:MetaClip2",
    "open_clip": "fovea.families.open_clip:OpenClip",
    "owlv2": "fovea.families.owlv2:Owlv2",
    "owlvit": "fovea.families.owlvit:Owlvit",
    "mask2former": "fovea.families.mask2former:Mask2Former",
    "segformer": "fovea.families.segformer:Segformer",
    "siglip": "fovea.families.siglip:Siglip",
    "hq_sam": "fovea.families.hq_sam:HqSam",
    "sam": "fovea.families.sam:Sam",
    "sam2": "fovea.families.sam2:Sam2",
    "mobile_sam": "fovea.families.sam:Sam",
    "d_fine": "fovea.families.rt_detr:RtDetr",
    "detr": "fovea.families.detr:Detr",
    "rt_detr": "fovea.families.rt_detr:RtDetr",
    "yolo_nas": "fovea.families.yolo:YoloNas",
    "yolov8": "fovea.families.yolo:Yolov8",
}


@lru_cache(None)
def registry() -> Mapping[str, str]:
    """family -> "module:Class": those of this folder, and those that other packages bring."""
    return with_entry_points(ENTRY_POINTS, FAMILIES)


def with_entry_points(group: str, own: Mapping[str, str]) -> Mapping[str, str]:
    """The entry points of other packages in a group, and the project's own, which win."""
    return {**{found.name: found.value for found in entry_points(group=group)}, **own}


def load(family: str) -> type[Role[Any]]:
    """The class of a family; raises ValueError for an unknown one."""
    known = registry()
    if family not in known:
        raise ValueError(f"expected a family of {', '.join(sorted(known))}, got {family!r}")
    module, _, name = known[family].partition(":")
    found: type[Role[Any]] = getattr(import_module(module), name)
    return found
