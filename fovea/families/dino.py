"""DINO, DINOv2 and DINOv3: what a picture looks like, learned without labels."""

from __future__ import annotations

from dataclasses import dataclass

from fovea import images
from fovea.families.towers import image_tower
from fovea.geometry import Geometry
from fovea.roles import ImageEmbedder
from fovea.specs import ModelSpec


@dataclass(frozen=True)
class DinoSpec:
    """What a checkpoint of DINO, DINOv2 or DINOv3 fixes.

    image_size: edge of the square picture in pixels. resize_edge: the shortest edge before the
    middle is cut out; 0 squashes the whole picture to the square instead. resample: Pillow's code
    of the filter.
    """

    image_size: int
    embed_dim: int
    resize_edge: int = 0
    resample: int = int(images.BICUBIC)


class Dino(ImageEmbedder[DinoSpec]):
    """The vector is the class token after the last layer norm, scaled to length 1.

    The authors compare this vector by cosine: `last_hidden_state[:, 0]` of the models in
    transformers, and `pooler_output` of those that have one (DINOv2 and DINOv3).
    """

    Spec = DinoSpec

    @property
    def geometry(self) -> Geometry:
        spec = self.spec
        size_hw = (spec.image_size, spec.image_size)
        if spec.resize_edge:
            return Geometry("shortest_edge", (spec.resize_edge,), size_hw, spec.resample, crop=True)
        return Geometry("squash", size_hw, size_hw, spec.resample)

    @property
    def image_network(self) -> ModelSpec:
        return image_tower(self.network_name(""), self.geometry, self.spec.embed_dim)
