"""The answers, as frozen data. Boxes are xyxy, float32, in pixels of the original picture."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fovea_client.errors import InvalidInput
from fovea_client.masks import Mask

if TYPE_CHECKING:
    import supervision

Floats = NDArray[np.float32]

JSON_DIGITS = 6


@dataclass(frozen=True, eq=False)
class MainObject:
    """The thing that a picture is about.

    found: whether the detector found the label's thing; without it, box and mask are None.
    label: CLIP's choice, unchanged; None if a description named nothing in the picture.
    label_index: its position among the labels, the first of equal ones.
    label_scores: probability of each label, best first.
    box: [4]. box_score: the detector's. mask_score: the segmenter's own estimate of the mask's IoU.
    size_hw: (height, width) of the picture.
    """

    found: bool
    label: str | None
    label_scores: Mapping[str, float]
    box: Floats | None
    box_score: float | None
    mask: Mask | None
    mask_score: float | None
    size_hw: tuple[int, int]
    label_index: int | None = None

    @property
    def label_score(self) -> float | None:
        """Probability of `label` among the labels."""
        return None if self.label is None else self.label_scores[self.label]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; the mask as COCO RLE."""
        return {
            "found": self.found,
            "label": self.label,
            "label_index": self.label_index,
            "label_scores": {label: _round(p) for label, p in self.label_scores.items()},
            "box": None if self.box is None else to_json(self.box),
            "box_score": _round(self.box_score),
            "mask": None if self.mask is None else self.mask.to_coco(),
            "mask_score": _round(self.mask_score),
            "size_hw": list(self.size_hw),
        }

    def to_detections(self) -> SegmentedDetections:
        """The same as detections: one, or none if nothing was found."""
        if self.box is None or self.mask is None:
            return SegmentedDetections(
                np.zeros((0, 4), np.float32),
                np.zeros(0, np.float32),
                (),
                self.size_hw,
                (),
                np.zeros(0, np.float32),
                label_indices=np.zeros(0, np.int32),
            )
        indices = None if self.label_index is None else np.array([self.label_index], np.int32)
        return SegmentedDetections(
            self.box[None],
            np.array([self.box_score], np.float32),
            (self.label or "",),
            self.size_hw,
            (self.mask,),
            np.array([self.mask_score], np.float32),
            label_indices=indices,
        )

    def to_coco_json(
        self, image_id: int = 0, categories: Mapping[str, int] | None = None
    ) -> list[dict[str, Any]]:
        """COCO results: none or one; see `Detections.to_coco_json`."""
        return self.to_detections().to_coco_json(image_id, categories)

    def to_supervision(self) -> supervision.Detections:
        """Convert to `supervision.Detections`; ImportError if supervision is not installed."""
        return self.to_detections().to_supervision()


@dataclass(frozen=True, eq=False)
class Detections:
    """The named things, or those of the detector's own classes; best first.

    boxes: [N, 4]. scores: [N]. phrases: the given one that each box answers, or the name of its
    class, N. label_indices: its position among the given ones, the first of equal ones, or the id
    of its class, [N]; None if unknown.
    size_hw: (height, width) of the picture.
    """

    boxes: Floats
    scores: Floats
    phrases: tuple[str, ...]
    size_hw: tuple[int, int]
    label_indices: NDArray[np.int32] | None = field(default=None, kw_only=True)

    @property
    def class_ids(self) -> NDArray[np.int64]:
        """A number for each box's phrase: its index among the given ones, or its id, int64 [N].

        So the same phrases give the same numbers for all pictures. If the indices are unknown, the
        number is made from the phrase alone (CRC-32).
        """
        if self.label_indices is not None:
            return self.label_indices.astype(np.int64)
        return np.array([zlib.crc32(phrase.encode()) for phrase in self.phrases], np.int64)

    def __len__(self) -> int:
        return len(self.boxes)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "boxes": to_json(self.boxes),
            "scores": to_json(self.scores),
            "phrases": list(self.phrases),
            "label_indices": None if self.label_indices is None else self.label_indices.tolist(),
            "size_hw": list(self.size_hw),
        }

    def to_coco_json(
        self, image_id: int = 0, categories: Mapping[str, int] | None = None
    ) -> list[dict[str, Any]]:
        """COCO results for `pycocotools.coco.COCO.loadRes`.

        bbox is [left, top, width, height], category_name the phrase. category_id is the phrase's id
        in `categories`, such as the dataset's own, or else in `class_ids`. Raises InvalidInput for
        a phrase without one.
        """
        return [
            {
                "image_id": image_id,
                "category_id": category_id,
                "category_name": phrase,
                "bbox": to_xywh(box),
                "score": _round(float(score)),
            }
            for box, score, phrase, category_id in zip(
                self.boxes, self.scores, self.phrases, self._category_ids(categories), strict=True
            )
        ]

    def _category_ids(self, categories: Mapping[str, int] | None) -> list[int]:
        if categories is None:
            ids: list[int] = self.class_ids.tolist()
            return ids
        missing = sorted(set(self.phrases) - set(categories))
        if missing:
            raise InvalidInput(f"expected a category for each phrase, got none for {missing}")
        return [categories[phrase] for phrase in self.phrases]

    def to_supervision(self) -> supervision.Detections:
        """Convert to `supervision.Detections`; ImportError if supervision is not installed.

        class_id is `class_ids`, class_name the phrase.
        """
        detections: supervision.Detections = supervision_module().Detections(
            xyxy=self.boxes.copy(),
            confidence=self.scores.copy(),
            class_id=self.class_ids,
            data={"class_name": np.array(self.phrases, dtype=np.str_)},
        )
        return detections


@dataclass(frozen=True, eq=False)
class SegmentedDetections(Detections):
    """Detections, and the mask of each. mask_scores: SAM's own estimates of the IoU, [N]."""

    masks: tuple[Mask, ...]
    mask_scores: Floats

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; masks as COCO RLE."""
        masks = [mask.to_coco() for mask in self.masks]
        return super().to_dict() | {"masks": masks, "mask_scores": to_json(self.mask_scores)}

    def to_coco_json(
        self, image_id: int = 0, categories: Mapping[str, int] | None = None
    ) -> list[dict[str, Any]]:
        """COCO results with bbox, segmentation and area; see `Detections.to_coco_json`."""
        found = super().to_coco_json(image_id, categories)
        return [
            one | {"segmentation": mask.to_coco(), "area": mask.area}
            for one, mask in zip(found, self.masks, strict=True)
        ]

    def to_supervision(self) -> supervision.Detections:
        """Convert to `supervision.Detections` with masks; ImportError without supervision."""
        detections = super().to_supervision()
        detections.mask = stack_masks(self.masks, self.size_hw)
        return detections


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A mask for each prompt, in order. scores: SAM's own estimates of the IoU, [P]."""

    masks: tuple[Mask, ...]
    scores: Floats
    size_hw: tuple[int, int]

    def __len__(self) -> int:
        return len(self.masks)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; masks as COCO RLE."""
        return {
            "masks": [mask.to_coco() for mask in self.masks],
            "scores": to_json(self.scores),
            "size_hw": list(self.size_hw),
        }

    def to_coco_json(self, image_id: int = 0) -> list[dict[str, Any]]:
        """COCO results: bbox is the mask's own, [left, top, width, height].

        category_id is 0 for all: a mask has no class.
        """
        return [
            {
                "image_id": image_id,
                "category_id": 0,
                "bbox": to_xywh(mask.box()),
                "segmentation": mask.to_coco(),
                "area": mask.area,
                "score": _round(float(score)),
            }
            for mask, score in zip(self.masks, self.scores, strict=True)
        ]

    def to_supervision(self) -> supervision.Detections:
        """Convert to `supervision.Detections` with masks; ImportError without supervision.

        class_id is 0 for all: a mask has no class.
        """
        detections: supervision.Detections = supervision_module().Detections(
            xyxy=np.array([mask.box() for mask in self.masks], np.float32).reshape(-1, 4),
            mask=stack_masks(self.masks, self.size_hw),
            confidence=self.scores.copy(),
            class_id=np.zeros(len(self), np.int64),
        )
        return detections


def to_xywh(box_xyxy: Floats) -> list[float]:
    """COCO's [left, top, width, height]."""
    left, top, right, bottom = box_xyxy.tolist()
    return [_round(edge) for edge in (left, top, right - left, bottom - top)]


def _round(number: Any) -> Any:
    """Round to the digits that float32 has; None stays None."""
    return None if number is None else round(number, JSON_DIGITS)


def to_json(array: Floats) -> list[Any]:
    """Numbers with as many digits as float32 has."""
    rounded: list[Any] = array.astype(np.float64).round(JSON_DIGITS).tolist()
    return rounded


def stack_masks(masks: tuple[Mask, ...], size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """bool [N, H, W]."""
    if not masks:
        return np.zeros((0, *size_hw), np.bool_)
    return np.stack([mask.to_numpy() for mask in masks])


def supervision_module() -> Any:
    """The package; ImportError says how to get it."""
    try:
        import supervision
    except ModuleNotFoundError as error:
        if error.name != "supervision":
            raise
        raise ImportError("to_supervision() needs it: pip install supervision") from error
    return supervision
