"""How each architecture plays its role: one file a family, numpy only.

A family is a row here, a class of a role (`fovea.roles`) in a file of this folder, and its torch
side under the same name in `export/families`. Nothing registers itself; a class is imported when
it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fovea.roles import Role

# By the `model_type` of a checkpoint's config.json where that names an architecture.
FAMILIES = {
    "clip": "fovea.families.clip:Clip",
    "grounding_dino": "fovea.families.grounding_dino:GroundingDino",
    "owlv2": "fovea.families.owlv2:Owlv2",
    "siglip": "fovea.families.siglip:Siglip",
    "hq_sam": "fovea.families.hq_sam:HqSam",
    "sam": "fovea.families.sam:Sam",
}


def load(family: str) -> type[Role[Any]]:
    """The class of a family; raises ValueError for one that nobody knows."""
    if family not in FAMILIES:
        raise ValueError(f"expected a family of {', '.join(sorted(FAMILIES))}, got {family!r}")
    module, _, name = FAMILIES[family].partition(":")
    found: type[Role[Any]] = getattr(import_module(module), name)
    return found
