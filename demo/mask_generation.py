"""transformers' mask-generation pipeline: the reference for segmenting everything.

The pipeline itself needs torchvision, only for non-maximum suppression. This is its procedure
(transformers 5.23 `pipelines/mask_generation.py`) with the processor's own methods and the
suppression of `fovea.boxes`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from demo.training import CHECKPOINTS_FOLDER
from fovea.boxes import non_maximum_suppression
from fovea.everything import CHUNK, NMS_IOU


@dataclass(frozen=True)
class Masks:
    """masks: bool [N, H, W], the surest first; scores: float32 [N], the predicted IoU."""

    masks: NDArray[np.bool_]
    scores: NDArray[np.float32]


class MaskGeneration:
    """The demo's SAM in PyTorch."""

    def __init__(self) -> None:
        folder = CHECKPOINTS_FOLDER / "sam"
        self.model = SamModel.from_pretrained(folder).eval()
        self.processor = SamImageProcessorPil.from_pretrained(folder)

    @torch.inference_mode()
    def generate(
        self,
        image: Image.Image,
        *,
        points_per_side: int,
        iou_threshold: float,
        stability_threshold: float,
    ) -> Masks:
        """Every object's mask."""
        edge = self.processor.size["longest_edge"]
        crops, points, images, labels = self.processor.generate_crop_boxes(
            image, edge, 0, 512 / 1500, points_per_side, 1
        )
        inputs = self.processor(images=images, return_tensors="pt")
        embeddings = self.model.get_image_embeddings(inputs["pixel_values"])
        sizes = inputs["original_sizes"].tolist()
        runs, scores, boxes = [], [], []
        for start in range(0, points.shape[1], CHUNK):
            some = slice(start, start + CHUNK)
            answer = self.model(
                image_embeddings=embeddings,
                input_points=points[:, some],
                input_labels=labels[:, some],
            )
            logits = self.processor.post_process_masks(
                answer.pred_masks, sizes, inputs["reshaped_input_sizes"].tolist(), binarize=False
            )
            found = self.processor.filter_masks(
                logits[0], answer.iou_scores[0], sizes[0], crops[0],
                iou_threshold, stability_threshold,
            )  # fmt: skip
            runs.extend(found[0])
            scores.append(found[1].numpy())
            boxes.append(found[2].numpy().astype(np.float32))
        all_scores = np.concatenate(scores)
        kept = non_maximum_suppression(np.concatenate(boxes), all_scores, NMS_IOU)
        drawn = [_drawn(runs[i]["counts"], sizes[0]) for i in kept]
        shape = (0, *sizes[0])
        return Masks(np.stack(drawn) if drawn else np.zeros(shape, np.bool_), all_scores[kept])


def _drawn(counts: list[int], size_hw: list[int]) -> NDArray[np.bool_]:
    """Uncompressed COCO run lengths, zeros first, down the columns -> bool [H, W]."""
    values = np.arange(len(counts)) % 2 == 1
    height, width = size_hw
    return np.repeat(values, counts).reshape(width, height).T
