"""OWLv2, which sees the picture padded to a square."""

from __future__ import annotations

from dataclasses import replace

from fovea import images
from fovea.families.owl import Owl, OwlSpec
from fovea.geometry import Geometry
from fovea.specs import ModelSpec, TensorSpec


class Owlv2(Owl[OwlSpec]):
    """Its network also gives objectness_logits float32 [Q], for any thing; no answer needs them."""

    Spec = OwlSpec

    @property
    def geometry(self) -> Geometry:
        edge = self.spec.image_size
        return Geometry("padded_square", (edge,), (edge, edge), int(images.BILINEAR))

    def frame_hw(self, original_hw: tuple[int, int]) -> tuple[int, int]:
        return max(original_hw), max(original_hw)

    @property
    def image_network(self) -> ModelSpec:
        network = super().image_network
        objectness = TensorSpec("objectness_logits", "FP32", (self.spec.num_queries,))
        return replace(network, outputs=(*network.outputs, objectness))
