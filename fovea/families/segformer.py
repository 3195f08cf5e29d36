"""SegFormer: a class for each pixel."""

from __future__ import annotations

from dataclasses import dataclass

from fovea import images, label_maps, segments
from fovea.geometry import Geometry
from fovea.roles import PIXEL_VALUES, Arrays, Segmenter
from fovea.segments import Segments
from fovea.specs import ModelSpec, TensorSpec, network_spec

CLASS_MAPS = "class_maps"


@dataclass(frozen=True)
class SegformerSpec:
    """What a SegFormer checkpoint fixes.

    image_hw: size of the picture in pixels. map_hw: size of the network's answer. class_names: by
    class id. resample: Pillow's code of the filter.
    """

    image_hw: tuple[int, int]
    map_hw: tuple[int, int]
    class_names: tuple[str, ...]
    resample: int = int(images.BILINEAR)
    task: str = "semantic"
    threshold: float = 0.0


class Segformer(Segmenter[SegformerSpec]):
    """Each pixel has the class with the largest logit there.

    Like transformers' `post_process_semantic_segmentation`: logits, enlarged bilinearly.
    """

    Spec = SegformerSpec

    @property
    def geometry(self) -> Geometry:
        spec = self.spec
        return Geometry(
            rule="squash", edges=spec.image_hw, output_hw=spec.image_hw, resample=spec.resample
        )

    @property
    def image_network(self) -> ModelSpec:
        shape = (len(self.spec.class_names), *self.spec.map_hw)
        return network_spec(
            self.network_name(""),
            inputs=(TensorSpec(PIXEL_VALUES, "UINT8", (3, *self.spec.image_hw)),),
            outputs=(TensorSpec(CLASS_MAPS, "FP32", shape),),
            max_batch_size=8,
        )

    def segments(
        self, answer: Arrays, original_hw: tuple[int, int], *, threshold: float, max_masks: int
    ) -> Segments:
        return segments.of_classes(label_maps.largest(answer[CLASS_MAPS], original_hw))
