"""EfficientNet: one like google/efficientnet-b0, and a small one."""

from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import EfficientNetConfig, EfficientNetForImageClassification
from transformers.image_utils import IMAGENET_DEFAULT_MEAN
from transformers.models.efficientnet.image_processing_pil_efficientnet import (
    EfficientNetImageProcessorPil,
)

from export.network import sample_pixels
from export.stand_ins.base import Build, StandIn, settle_batch_norms
from export.stand_ins.convnext import IMAGENET_CLASSES

NEAREST = 0
# From the hub's google/efficientnet-b0, which has ImageNet's squared.
STD = [0.47853944, 0.4732864, 0.47434163]
# Its own initial weights are so small that the logits do not depend on the picture.
WEIGHTS = 0.2
# The classifier's weights: a softmax of large logits would be constant as well.
HEAD = 0.1
SETTLED_ON = 8


def _made(edge: int, **config: Any) -> StandIn:
    sizes = EfficientNetConfig(image_size=edge, initializer_range=WEIGHTS, **config)
    model = EfficientNetForImageClassification(sizes)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    with torch.no_grad():
        model.classifier.weight.mul_(HEAD)
    processor = EfficientNetImageProcessorPil(
        size={"height": edge, "width": edge},
        resample=NEAREST,
        image_mean=IMAGENET_DEFAULT_MEAN,
        image_std=STD,
    )
    rng = np.random.default_rng(0)
    pictures = sample_pixels(rng, (SETTLED_ON, 3, edge, edge), (edge, edge))
    seen = processor(list(pictures), do_resize=False, return_tensors="pt")
    settle_batch_norms(model, lambda: model(**seen))
    return StandIn(model, processor)


def _tiny() -> StandIn:
    return _made(
        48,
        num_labels=5,
        width_coefficient=0.25,
        depth_coefficient=0.5,
        hidden_dim=320,
        num_block_repeats=[1, 1, 2, 1, 1, 2, 1],
    )


def _b0() -> StandIn:
    return _made(
        224,
        num_labels=IMAGENET_CLASSES,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        hidden_dim=1280,
        dropout_rate=0.2,
    )


TINY: dict[str, Build] = {"efficientnet_tiny": _tiny}
REAL: dict[str, Build] = {"efficientnet": _b0}
