"""The references for members with their own classes: the answers of transformers itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import RTDetrForObjectDetection, SegformerForSemanticSegmentation, pipeline
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from demo.reference import Detection, detections
from demo.training import CHECKPOINTS_FOLDER

# The name of the main thing.
Classify = Callable[[Image.Image], str]
# Boxes of all things, the highest score first.
Detect = Callable[[Image.Image], list[Detection]]
# The class id at each pixel, [H, W].
ClassMap = NDArray[np.integer]
Segment = Callable[[Image.Image], ClassMap]


def classifier(folder: Path = CHECKPOINTS_FOLDER / "convnext") -> Classify:
    """ConvNeXt in transformers' image-classification pipeline."""
    ask = pipeline("image-classification", model=str(folder))

    def classify(image: Image.Image) -> str:
        return str(ask(image, top_k=1)[0]["label"])

    return classify


class RtDetrReference:
    """RT-DETR from a checkpoint's folder."""

    def __init__(self, folder: Path = CHECKPOINTS_FOLDER / "rt_detr") -> None:
        self.model = RTDetrForObjectDetection.from_pretrained(folder, dtype=torch.float32).eval()
        self.processor = RTDetrImageProcessorPil.from_pretrained(folder)

    @torch.inference_mode()
    def __call__(self, image: Image.Image, box_threshold: float | None = None) -> list[Detection]:
        """Boxes within the picture, the highest score first; the threshold is the checkpoint's."""
        config = self.model.config
        if box_threshold is None:
            box_threshold = float(config.box_threshold)
        result = self.processor.post_process_object_detection(
            self.model(**self.processor(image, return_tensors="pt")),
            threshold=box_threshold,
            target_sizes=[(image.height, image.width)],
        )[0]
        phrases = [config.id2label[int(label)] for label in result["labels"]]
        return detections(image, result["boxes"], result["scores"], phrases)


class SegformerReference:
    """SegFormer from a checkpoint's folder."""

    def __init__(self, folder: Path = CHECKPOINTS_FOLDER / "segformer") -> None:
        loaded = SegformerForSemanticSegmentation.from_pretrained(folder, dtype=torch.float32)
        self.model = loaded.eval()
        self.processor = SegformerImageProcessorPil.from_pretrained(folder)

    @torch.inference_mode()
    def __call__(self, image: Image.Image) -> ClassMap:
        """The class id at each pixel, int64 [H, W]."""
        answer = self.model(**self.processor(image, return_tensors="pt"))
        size = (image.height, image.width)
        [found] = self.processor.post_process_semantic_segmentation(answer, target_sizes=[size])
        return np.asarray(found.numpy())
