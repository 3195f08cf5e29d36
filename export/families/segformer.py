"""SegFormer checkpoints as one network.

Code: Apache-2.0 in transformers. NVIDIA's weights: for research only, not for commercial use.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from export.checkpoints import Checkpoint
from export.class_names import class_names
from export.family import FamilyExport, Options
from export.network import Network, sample_picture
from export.pixels import Normalize
from export.precision import Kept, Policy
from export.processor import Normalization, edges, require, resample
from fovea.families.segformer import SegformerSpec
from fovea.specs import Tolerance


class Segmenter(nn.Module):
    """pixel_values uint8 [N, 3, H, W] -> class_maps [N, C, H / 4, W / 4], logits."""

    def __init__(self, model: SegformerForSemanticSegmentation, normal: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normal.mean, normal.std)
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        logits: Tensor = self.model(pixel_values=self.normalize(pixel_values)).logits
        return logits


def read_spec(config: SegformerConfig, processor: SegformerImageProcessorPil) -> SegformerSpec:
    """The spec of a checkpoint; raises UnsupportedProcessor and InvalidCheckpoint."""
    require(processor, do_resize=True, do_center_crop=False, do_pad=False)
    height, width = edges(processor, "size", "height", "width")
    return SegformerSpec(
        image_hw=(height, width),
        map_hw=(_map_edge(config, height), _map_edge(config, width)),
        class_names=class_names("segformer", config),
        resample=resample(processor),
    )


def _map_edge(config: SegformerConfig, edge: int) -> int:
    """The edge of the first stage's map, for an input of `edge` pixels."""
    patch, stride = config.patch_sizes[0], config.strides[0]
    return int((edge + 2 * (patch // 2) - patch) // stride + 1)


class SegformerExport(FamilyExport):
    """SegFormer up to its logits; the steps enlarge them."""

    model_class = SegformerForSemanticSegmentation
    processor_class = SegformerImageProcessorPil
    POLICIES: ClassVar[dict[str, Policy]] = {
        "": Policy(
            kept=(Kept("classes: the largest logit decides", nodes=(r"/classifier/",)),),
            quantized=(),
            quantized_reason="never tried",
            fp16=Tolerance(difference=1e-2),
            int8=Tolerance(),
        ),
    }

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> SegformerSpec:
        return read_spec(model.config, processor)

    def networks(self, role: Any, model: Any, normal: Normalization) -> list[Network]:
        sample = partial(sample_picture, role.spec.image_hw)
        return [Network(role.image_network, Segmenter(model, normal), sample, variants=2)]
