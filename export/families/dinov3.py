"""DINOv3 checkpoints as one network.

transformers' `DINOv3ViTModel`, as in facebook/dinov3-vits16-pretrain-lvd1689m. Code: Apache-2.0.
Weights: DINOv3 License, on request.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional
from transformers import DINOv3ViTModel
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from export.checkpoints import Checkpoint
from export.errors import UnsupportedProcessor
from export.families.dino import DinoExport, fixed, read_spec
from export.family import Options
from fovea.families.dino import DinoSpec


class DINOv3ViTImageProcessorPil(PilBackend):
    """transformers' `DINOv3ViTImageProcessor`, which runs on torchvision only.

    It resizes floats, so nothing is rounded to whole grey levels; torchvision uses torch's
    `interpolate` for that.
    """

    resample = Image.Resampling.BILINEAR
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    size: ClassVar[dict[str, int]] = {"height": 224, "width": 224}
    do_resize = True
    do_rescale = True
    do_normalize = True

    def resize(
        self, image: NDArray[Any], size: Any, resample: Any = None, **kwargs: Any
    ) -> NDArray[np.float32]:
        """[3, H, W] -> float32 [3, height, width] of `size`, bilinear."""
        floats = torch.from_numpy(image.astype(np.float32))[None]
        size_hw = (size.height, size.width)
        resized = functional.interpolate(floats, size_hw, mode="bilinear", antialias=True)
        return np.asarray(resized[0].numpy(), np.float32)


class Dinov3Export(DinoExport):
    """DINOv3; the rotations of its patches by position are constants of the graph."""

    model_class = DINOv3ViTModel
    processor_class = DINOv3ViTImageProcessorPil

    def load_model(self, checkpoint: Checkpoint) -> Any:
        return checkpoint.load_model()

    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> DinoSpec:
        # On floats, bicubic leaves the range of grey levels, which uint8 pixels cannot.
        if processor.resample != Image.Resampling.BILINEAR:
            raise UnsupportedProcessor(
                "DINOv3ViTImageProcessor: expected resample to be bilinear (2), "
                f"got {processor.resample!r}"
            )
        return read_spec(model.config, processor)

    def tracing(self, model: Any, edge: int) -> Callable[[], AbstractContextManager[None]]:
        rotations = model.rope_embeddings(torch.empty(1, 3, edge, edge))
        return partial(fixed, model.rope_embeddings, "forward", rotations)
