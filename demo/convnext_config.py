"""The shape of the demo ConvNeXt, and its processor."""

from __future__ import annotations

from transformers import ConvNextConfig
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil

from demo.pixels import IMAGENET_MEAN, IMAGENET_STD
from demo.things import LABELS

EDGE = 96
CROP_PCT = 0.875
# The short side before the middle is cut out.
SHORTEST = int(EDGE / CROP_PCT)


def image_processor() -> ConvNextImageProcessorPil:
    """Short side to `SHORTEST` pixels, bicubic, then the central square; with ImageNet's values."""
    return ConvNextImageProcessorPil(
        size={"shortest_edge": EDGE},
        crop_pct=CROP_PCT,
        image_mean=list(IMAGENET_MEAN),
        image_std=list(IMAGENET_STD),
    )


def model_config() -> ConvNextConfig:
    """A ConvNeXt of 0.9 million parameters, most of them where maps are small."""
    return ConvNextConfig(
        hidden_sizes=[24, 48, 96, 192],
        depths=[1, 1, 2, 2],
        # So few blocks learn sooner if they have an effect from the start.
        layer_scale_init_value=0.1,
        image_size=EDGE,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
