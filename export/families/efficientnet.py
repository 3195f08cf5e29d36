"""EfficientNet checkpoints as one network.

Code: Apache-2.0 (transformers). Weights: Apache-2.0 (google/efficientnet-b0).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn
from transformers import EfficientNetForImageClassification
from transformers.models.efficientnet.image_processing_pil_efficientnet import (
    EfficientNetImageProcessorPil,
)

from export.checkpoints import Checkpoint
from export.errors import UnsupportedProcessor
from export.families.square_classifier import SquareClassifierExport, is_multi_label, read_labels
from export.family import Options
from export.pixels import Normalize
from export.processor import Normalization, edges, normalization, require, resample
from fovea.families.square_classifier import SquareClassifierSpec


class LogitsOfEfficientNet(nn.Module):
    """pixel_values uint8 [N, 3, S, S] -> logits [N, C].

    The model's pooling window is as large as its channel count, which TensorRT and OpenVINO refuse:
    here it is the mean, or the maximum, over the whole map.
    """

    def __init__(self, model: EfficientNetForImageClassification, normal: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normal.mean, normal.std)
        self.embeddings = model.efficientnet.embeddings
        self.encoder = model.efficientnet.encoder
        mean = model.config.pooling_type == "mean"
        self.pooler = nn.AdaptiveAvgPool2d(1) if mean else nn.AdaptiveMaxPool2d(1)
        self.classifier = model.classifier

    def forward(self, pixel_values: Tensor) -> Tensor:
        seen = self.encoder(self.embeddings(self.normalize(pixel_values)), return_dict=True)
        logits: Tensor = self.classifier(self.pooler(seen.last_hidden_state).flatten(1))
        return logits


def read_spec(config: Any, processor: EfficientNetImageProcessorPil) -> SquareClassifierSpec:
    """The spec of a checkpoint; raises UnsupportedProcessor and InvalidCheckpoint."""
    require(processor, do_resize=True, do_center_crop=False, do_pad=False)
    height, width = edges(processor, "size", "height", "width")
    if height != width:
        raise UnsupportedProcessor(
            f"{type(processor).__name__}: expected a square size, got {height} x {width}"
        )
    return SquareClassifierSpec(
        image_size=height,
        class_names=read_labels("efficientnet", config),
        multi_label=is_multi_label("efficientnet", config),
        resize_edge=0,
        resample=resample(processor),
    )


def normalization_of(processor: EfficientNetImageProcessorPil) -> Normalization:
    """The processor's normalization, with its two extra options.

    rescale_offset subtracts 1 after rescaling. include_top divides by std once more, or for the
    first time without do_normalize.
    """
    once = normalization(processor)
    # In units of x / 255, like mean and std.
    one = 1 / (255 * processor.rescale_factor)
    less = one if processor.do_rescale and processor.rescale_offset else 0.0
    again = np.broadcast_to(processor.image_std if processor.include_top else 1.0, 3).tolist()
    red, green, blue = (mean + less for mean in once.mean)
    std_red, std_green, std_blue = (a * b for a, b in zip(once.std, again, strict=True))
    return Normalization((red, green, blue), (std_red, std_green, std_blue))


class EfficientNetExport(SquareClassifierExport):
    """EfficientNet B0 to B7."""

    model_class = EfficientNetForImageClassification
    processor_class = EfficientNetImageProcessorPil
    SETTINGS = ("include_top", "rescale_offset")

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> SquareClassifierSpec:
        return read_spec(model.config, processor)

    def normalization(self, processor: Any) -> Normalization:
        return normalization_of(processor)

    def network(self, model: Any, normal: Normalization) -> nn.Module:
        return LogitsOfEfficientNet(model, normal)
