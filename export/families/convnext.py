"""ConvNeXt checkpoints as one network.

Code: Apache-2.0 (transformers). Weights: Apache-2.0 (facebook/convnext-tiny-224).
"""

from __future__ import annotations

from typing import Any

from transformers import ConvNextForImageClassification
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil

from export.checkpoints import Checkpoint
from export.errors import UnsupportedProcessor
from export.families.square_classifier import SquareClassifierExport, is_multi_label, read_labels
from export.family import Options
from export.processor import edges, require, resample
from fovea.families.square_classifier import SquareClassifierSpec

# From this edge on, the processor squashes the picture and ignores crop_pct.
SQUASHED_FROM = 384


def read_spec(
    family: str, config: Any, processor: ConvNextImageProcessorPil
) -> SquareClassifierSpec:
    """The spec of a checkpoint; raises UnsupportedProcessor and InvalidCheckpoint."""
    require(processor, do_resize=True, do_center_crop=False, do_pad=False)
    (edge,) = edges(processor, "size", "shortest_edge")
    return SquareClassifierSpec(
        image_size=edge,
        class_names=read_labels(family, config),
        multi_label=is_multi_label(family, config),
        resize_edge=0 if edge >= SQUASHED_FROM else int(edge / _crop_pct(processor)),
        resample=resample(processor),
    )


def _crop_pct(processor: ConvNextImageProcessorPil) -> float:
    value = processor.crop_pct
    if not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise UnsupportedProcessor(
            f"{type(processor).__name__}: expected a crop_pct above 0 and up to 1 for pictures "
            f"below {SQUASHED_FROM} pixels, got {value!r}"
        )
    return float(value)


class ConvNextExport(SquareClassifierExport):
    """ConvNeXt; ConvNeXt V2 subclasses it."""

    model_class = ConvNextForImageClassification
    processor_class = ConvNextImageProcessorPil
    SETTINGS = ("crop_pct",)

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> SquareClassifierSpec:
        return read_spec(checkpoint.family, model.config, processor)
