"""OWL-ViT, which sees the whole picture squashed to a square."""

from __future__ import annotations

from dataclasses import dataclass

from fovea import images
from fovea.families.owl import Owl, OwlSpec
from fovea.geometry import Geometry


@dataclass(frozen=True)
class OwlvitSpec(OwlSpec):
    """What an OWL-ViT checkpoint fixes.

    resample: Pillow's code of the filter.
    """

    resample: int = int(images.BICUBIC)


class Owlvit(Owl[OwlvitSpec]):
    """Boxes are fractions of the picture itself."""

    Spec = OwlvitSpec

    @property
    def geometry(self) -> Geometry:
        size_hw = (self.spec.image_size, self.spec.image_size)
        return Geometry("squash", size_hw, size_hw, self.spec.resample)

    def frame_hw(self, original_hw: tuple[int, int]) -> tuple[int, int]:
        return original_hw
