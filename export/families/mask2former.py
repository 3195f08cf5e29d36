"""Mask2Former checkpoints as one network.

Code: Apache-2.0 in transformers. Meta's weights: MIT; those of Swin and of the data sets differ.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation
from transformers.models.mask2former.image_processing_pil_mask2former import (
    Mask2FormerImageProcessorPil,
)

from export.checkpoints import Checkpoint
from export.class_names import class_names
from export.errors import InvalidOption, UnsupportedProcessor
from export.family import FamilyExport, Options
from export.network import Network, sample_picture
from export.pixels import Normalize
from export.precision import Kept, Policy
from export.processor import Normalization, edges, require, resample
from fovea.families.mask2former import TASKS, Mask2FormerSpec
from fovea.specs import Tolerance

# transformers' defaults: the pipeline's task, and the thresholds of the processor's methods.
TASK = "panoptic"
THRESHOLD, MASK_THRESHOLD, OVERLAP_THRESHOLD = 0.5, 0.5, 0.8


class Segmenter(nn.Module):
    """pixel_values uint8 [N, 3, H, W] -> class_logits [N, Q, C + 1], mask_logits [N, Q, h, w]."""

    def __init__(self, model: Mask2FormerForUniversalSegmentation, normal: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normal.mean, normal.std)
        self.model = model

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        # Otherwise transformers fails to find the classes in models without an auxiliary loss.
        found = self.model(
            pixel_values=self.normalize(pixel_values),
            output_hidden_states=True,
            output_auxiliary_logits=False,
        )
        return found.class_queries_logits, found.masks_queries_logits


def read_spec(
    config: Mask2FormerConfig, processor: Mask2FormerImageProcessorPil, options: Options
) -> Mask2FormerSpec:
    """The spec of a checkpoint.

    Raises UnsupportedProcessor, InvalidCheckpoint and InvalidOption.
    """
    task = options.get("task", TASK)
    if task not in TASKS:
        raise InvalidOption(f"task: expected one of {', '.join(TASKS)}, got {task!r}")
    require(processor, do_resize=True, pad_size=None)
    height, width = _image_hw(processor, options)
    stride = config.common_stride
    return Mask2FormerSpec(
        image_hw=(height, width),
        mask_hw=(-(-height // stride), -(-width // stride)),
        num_queries=config.num_queries,
        class_names=class_names("mask2former", config),
        task=task,
        threshold=_share(options, "threshold", THRESHOLD),
        mask_threshold=_share(options, "mask_threshold", MASK_THRESHOLD),
        overlap_threshold=_share(options, "overlap_mask_area_threshold", OVERLAP_THRESHOLD),
        resample=resample(processor),
    )


def _share(options: Options, name: str, default: float) -> float:
    value = float(options.get(name, default))
    if not 0 <= value <= 1:
        raise InvalidOption(f"{name}: expected a number within [0, 1], got {value}")
    return value


def _image_hw(processor: Mask2FormerImageProcessorPil, options: Options) -> tuple[int, int]:
    """The size that pictures are squashed to, rounded up as the processor does."""
    edge = options.get("image_size")
    if edge is None:
        try:
            height, width = edges(processor, "size", "height", "width")
        except UnsupportedProcessor as error:
            raise UnsupportedProcessor(
                f"{error}; pictures of many sizes would be padded, which changes the answers of "
                "Mask2Former: say image_size = 384, to which they are squashed"
            ) from None
    elif edge < 1:
        raise InvalidOption(f"image_size: expected a pixel or more, got {edge}")
    else:
        height, width = edge, edge
    divisor = max(1, processor.size_divisor)
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


class Mask2FormerExport(FamilyExport):
    """Mask2Former.

    `task` is semantic, instance or panoptic. `threshold`, `mask_threshold` and
    `overlap_mask_area_threshold` are transformers' own. `image_size` squashes pictures to a
    square of that edge, whatever the processor says.
    """

    model_class = Mask2FormerForUniversalSegmentation
    processor_class = Mask2FormerImageProcessorPil
    SETTINGS = ("size_divisor",)
    OPTIONS: ClassVar[dict[str, type]] = {
        "task": str,
        "threshold": float,
        "mask_threshold": float,
        "overlap_mask_area_threshold": float,
        "image_size": int,
    }
    POLICIES: ClassVar[dict[str, Policy]] = {
        "": Policy(
            kept=(
                Kept(
                    "sampling: its coordinates",
                    operators=("GridSample",),
                    nodes=(r"/encoder/layers\.\d+/self_attn/([^/]+|sampling_offsets/.*)$",),
                ),
                Kept(
                    "coordinates: positions of pixels, reference points",
                    nodes=(
                        r"/position_embedd",
                        r"/pixel_level_module/decoder/(encoder/)?[^/]+$",
                        r"/transformer_module/[^/]+$",
                    ),
                ),
                Kept(
                    "masks: their signs are what the next layer's attention sees",
                    nodes=(r"/mask_projection/", r"/mask_predictor", r"/decoder/layernorm"),
                ),
                Kept("classes: of near scores the largest decides", nodes=(r"/class_predictor",)),
            ),
            quantized=(),
            quantized_reason="its masks were never tried",
            fp16=Tolerance(difference=1e-2),
            int8=Tolerance(),
        ),
    }

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> Mask2FormerSpec:
        return read_spec(model.config, processor, options)

    def networks(self, role: Any, model: Any, normal: Normalization) -> list[Network]:
        sample = partial(sample_picture, role.spec.image_hw)
        return [Network(role.image_network, Segmenter(model, normal), sample, variants=2)]

    def processor_arguments(self, processor: Any, options: Options) -> dict[str, Any]:
        edge = options.get("image_size")
        return {"size": {"height": edge, "width": edge}} if edge else {}
