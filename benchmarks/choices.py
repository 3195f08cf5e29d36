"""Deployments of light and heavy members that answer the same verbs, at real size.

Their checkpoints have random weights in the shapes of well-known ones: they cost what those cost,
and answer nothing of worth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export import stand_ins
from fovea.deployment_file import DeploymentFile
from fovea.members import Source
from fovea.verbs import verbs_of

CHECKPOINTS = Path("build/stand-ins")


@dataclass(frozen=True)
class Part:
    """A member: its family, the name of the stand-in, and what people know that one as."""

    family: str
    stand_in: str
    known_as: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def source(self, folder: Path) -> Source:
        """Written below the folder, unless it is there."""
        written = stand_ins.write(self.family, "real", folder / self.family, only=self.stand_in)
        options = tuple(sorted(self.options.items()))
        return Source(str(written[self.stand_in]), self.family, options)


@dataclass(frozen=True)
class Choice:
    """One member for each slot of main_object."""

    name: str
    ranks: Part
    detects: Part
    cuts: Part

    @property
    def parts(self) -> tuple[Part, ...]:
        """In the order of the verb's steps."""
        return (self.ranks, self.detects, self.cuts)

    def deployment(self, folder: Path = CHECKPOINTS) -> DeploymentFile:
        """With main_object and segment; checkpoints are written where they are not there yet."""
        members = {part.family: part.source(folder) for part in self.parts}
        slots = {
            "ranks": self.ranks.family,
            "detects": self.detects.family,
            "cuts": self.cuts.family,
        }
        verbs = verbs_of({"main_object": slots, "segment": {"cuts": self.cuts.family}})
        return DeploymentFile(f"choice-{self.name}", members, verbs)


_CLIP = Part("clip", "clip", "CLIP ViT-B/32")
_SIGLIP = Part("siglip", "siglip", "SigLIP ViT-B/16")
_DINO = Part("grounding_dino", "grounding_dino", "GroundingDINO-T")
_DINO_800 = Part(
    "grounding_dino", "grounding_dino", "GroundingDINO-T, 800 pixels", {"longest_edge": 800}
)
_OWLVIT = Part("owlvit", "owlvit", "OWL-ViT B/32")
_SAM = Part("sam", "sam", "SAM ViT-B")
_MOBILE_SAM = Part("mobile_sam", "mobile_sam", "MobileSAM")
_SAM2 = Part("sam2", "sam2", "SAM 2 Hiera-T")

# The first is what others are compared with: deployments/production.toml.
CHOICES = (
    Choice("default", _CLIP, _DINO, _SAM),
    Choice("default-800", _CLIP, _DINO_800, _SAM),
    Choice("owlvit-sam", _CLIP, _OWLVIT, _SAM),
    Choice("owlvit-sam2", _CLIP, _OWLVIT, _SAM2),
    Choice("owlvit-mobilesam", _CLIP, _OWLVIT, _MOBILE_SAM),
    Choice("siglip-owlvit-mobilesam", _SIGLIP, _OWLVIT, _MOBILE_SAM),
)
