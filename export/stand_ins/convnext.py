"""ConvNeXt: one like facebook/convnext-tiny-224, and a small one."""

from typing import Any

from transformers import ConvNextConfig, ConvNextForImageClassification
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from transformers.models.convnext.image_processing_pil_convnext import ConvNextImageProcessorPil

from export.stand_ins.base import Build, StandIn

IMAGENET_CLASSES = 1000


def _tiny() -> StandIn:
    return StandIn(
        ConvNextForImageClassification(small_config(ConvNextConfig)),
        ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.9),
    )


def small_config(cls: type) -> Any:
    """Four stages of one block each, and seven classes."""
    labels = ["tench, Tinca tinca", "goldfish", "cat", "dog", "猫", "shark", "hen"]
    return cls(
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
    )


def _base() -> StandIn:
    model = ConvNextForImageClassification(ConvNextConfig(num_labels=IMAGENET_CLASSES))
    return StandIn(model, imagenet_processor())


def imagenet_processor() -> ConvNextImageProcessorPil:
    """The processor of the hub's checkpoints for 224 pixels."""
    return ConvNextImageProcessorPil(
        size={"shortest_edge": 224},
        image_mean=IMAGENET_DEFAULT_MEAN,
        image_std=IMAGENET_DEFAULT_STD,
    )


TINY: dict[str, Build] = {"convnext_tiny": _tiny}
REAL: dict[str, Build] = {"convnext": _base}
