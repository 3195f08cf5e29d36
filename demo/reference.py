"""The reference: the demo checkpoints in plain transformers, picture by picture.

It is simple on purpose, so that it can be trusted: the code that a user of transformers would
write. Everything that is exported and served is compared with it.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from transformers import (
    CLIPModel,
    CLIPProcessor,
    GroundingDinoForObjectDetection,
    GroundingDinoProcessor,
    SamModel,
    SamProcessor,
)

from demo.training import CHECKPOINTS_FOLDER

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class LabelScore:
    """A candidate label and its probability among the candidates."""

    label: str
    score: float


@dataclass(frozen=True)
class Detection:
    """A box with its score and the words of the caption that it stands for.

    `box_xyxy` is in pixels of the picture.
    """

    box_xyxy: Box
    score: float
    phrase: str


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A mask, bool (height, width) of the picture, and the IoU that SAM predicts for it."""

    mask: np.ndarray
    iou_score: float


@dataclass(frozen=True, eq=False)
class MainObject:
    """The answer about the main object; box and mask are None if nothing was found."""

    label: str
    label_score: float
    found: bool
    box_xyxy: Box | None = None
    box_score: float | None = None
    mask: np.ndarray | None = None
    iou_score: float | None = None


class Predictor(Protocol):
    """The subject of `demo.evaluate`: a reference, or the served ensembles."""

    @abstractmethod
    def rank_labels(self, image: Image.Image, labels: list[str]) -> list[LabelScore]:
        """Candidate labels, the most probable first."""

    @abstractmethod
    def detect(self, image: Image.Image, caption: str) -> list[Detection]:
        """Boxes of named things above the checkpoint's own threshold, best first."""

    @abstractmethod
    def segment(
        self,
        image: Image.Image,
        *,
        boxes: list[Box] | None = None,
        points: list[tuple[float, float]] | None = None,
    ) -> list[Segmentation]:
        """One mask for each box or each point; both in pixels of the picture."""

    @abstractmethod
    def main_object(self, image: Image.Image, labels: list[str]) -> MainObject:
        """Label, box and mask of the main object."""


class Reference(Predictor):
    """Three models that together answer about the main object."""

    def main_object(self, image: Image.Image, labels: list[str]) -> MainObject:
        """The best of the labels, its best box, and the mask in that box."""
        best = self.rank_labels(image, labels)[0]
        detections = self.detect(image, best.label)
        if not detections:
            return MainObject(best.label, best.score, found=False)
        detection = detections[0]
        cut = self.segment(image, boxes=[detection.box_xyxy])[0]
        return MainObject(
            best.label,
            best.score,
            found=True,
            box_xyxy=detection.box_xyxy,
            box_score=detection.score,
            mask=cut.mask,
            iou_score=cut.iou_score,
        )


def ranked(labels: list[str], scores: list[float]) -> list[LabelScore]:
    """Labels with their scores, the most probable first."""
    pairs = sorted(zip(labels, scores, strict=True), key=lambda pair: -pair[1])
    return [LabelScore(label, score) for label, score in pairs]


def detections(
    image: Image.Image, boxes: torch.Tensor, scores: torch.Tensor, phrases: list[str]
) -> list[Detection]:
    """Boxes (N, 4) clipped to the picture, the highest score first."""
    frame = torch.tensor([image.width, image.height] * 2)
    # Without a box, transformers still gives GroundingDINO one empty phrase.
    found = [
        Detection(tuple(box.clamp(min=0).minimum(frame).tolist()), float(score), phrase)
        for box, score, phrase in zip(boxes, scores, phrases, strict=False)
    ]
    return sorted(found, key=lambda detection: -detection.score)


def sam_prompt(boxes: list[Box] | None, points: list[tuple[float, float]] | None) -> dict[str, Any]:
    """Boxes, or points that mean one thing each, as SAM's processors take them for a picture."""
    if boxes is not None:
        return {"input_boxes": [[list(box) for box in boxes]]}
    return {"input_points": [[[list(point)] for point in points or []]]}


def chosen_masks(masks: torch.Tensor, iou_scores: torch.Tensor) -> list[Segmentation]:
    """For each prompt the mask with the highest score: bool [P, K, H, W], [P, K]."""
    best = iou_scores.argmax(-1).tolist()
    return [Segmentation(masks[i, k].numpy(), float(iou_scores[i, k])) for i, k in enumerate(best)]


class ReferencePipeline(Reference):
    """CLIP, GroundingDINO and SAM from the folders of their checkpoints, each with its own
    processor."""

    def __init__(
        self,
        *,
        clip: Path = CHECKPOINTS_FOLDER / "clip",
        dino: Path = CHECKPOINTS_FOLDER / "grounding_dino",
        sam: Path = CHECKPOINTS_FOLDER / "sam",
    ) -> None:
        self.clip = CLIPModel.from_pretrained(clip).eval()
        self.clip_processor = CLIPProcessor.from_pretrained(clip)
        self.dino = GroundingDinoForObjectDetection.from_pretrained(dino).eval()
        self.dino_processor = GroundingDinoProcessor.from_pretrained(dino)
        self.sam = SamModel.from_pretrained(sam).eval()
        self.sam_processor = SamProcessor.from_pretrained(sam)

    @property
    def box_threshold(self) -> float:
        """The least score of a box, from the checkpoint's configuration."""
        return float(self.dino.config.box_threshold)

    @property
    def text_threshold(self) -> float:
        """The least score of a token in a box's phrase, from the checkpoint's configuration."""
        return float(self.dino.config.text_threshold)

    @torch.inference_mode()
    def rank_labels(self, image: Image.Image, labels: list[str]) -> list[LabelScore]:
        """Candidate labels, the most probable first."""
        inputs = self.clip_processor(
            text=labels, images=image, return_tensors="pt", padding=True, truncation=True
        )
        return ranked(labels, self.clip(**inputs).logits_per_image[0].softmax(-1).tolist())

    @torch.inference_mode()
    def detect(
        self,
        image: Image.Image,
        caption: str,
        *,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
    ) -> list[Detection]:
        """Boxes of named things within the picture, the highest score first.

        The caption is lower-cased and ends with '.', as GroundingDINO expects.
        """
        caption = caption.lower().strip()
        caption = caption if caption.endswith(".") else f"{caption}."
        inputs = self.dino_processor(images=image, text=caption, return_tensors="pt")
        outputs = self.dino(**inputs)
        result = self.dino_processor.post_process_grounded_object_detection(
            outputs,
            inputs["input_ids"],
            threshold=self.box_threshold if box_threshold is None else box_threshold,
            text_threshold=self.text_threshold if text_threshold is None else text_threshold,
            target_sizes=[(image.height, image.width)],
        )[0]
        return detections(image, result["boxes"], result["scores"], result["text_labels"])

    @torch.inference_mode()
    def segment(
        self,
        image: Image.Image,
        *,
        boxes: list[Box] | None = None,
        points: list[tuple[float, float]] | None = None,
    ) -> list[Segmentation]:
        """One mask for each box or point: SAM's single mask for a box, for a point the one of three
        with the highest predicted IoU. Boxes and points are in pixels of the picture."""
        prompt = sam_prompt(boxes, points)
        inputs = self.sam_processor(images=image, return_tensors="pt", **prompt)
        sizes = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
        outputs = self.sam(**inputs, multimask_output=boxes is None)
        masks = self.sam_processor.image_processor.post_process_masks(outputs.pred_masks, *sizes)[0]
        return chosen_masks(masks, outputs.iou_scores[0])
