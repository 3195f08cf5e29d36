"""The answer of segment_everything and embed_objects, and their inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fovea_client import prompts
from fovea_client.errors import InvalidSetting
from fovea_client.masks import Mask
from fovea_client.requests import TensorValue
from fovea_client.results import Floats, stack_masks, supervision_module, to_json, to_xywh

if TYPE_CHECKING:
    import supervision

INT32_MAX = int(np.iinfo(np.int32).max)


@dataclass(frozen=True, eq=False)
class Objects:
    """Everything with an outline in a picture, the surest first.

    boxes: [N, 4], the smallest around each mask. scores: SAM's own estimates of the masks' IoU,
    [N]. stability: how little a mask changes with its threshold, within [0, 1], [N].
    size_hw: (height, width) of the picture. embeddings: a vector of length 1 for each, [N, d], and
    picture_embedding one for the whole picture, [d]; None from segment_everything.
    """

    boxes: Floats
    masks: tuple[Mask, ...]
    scores: Floats
    stability: Floats
    size_hw: tuple[int, int]
    embeddings: Floats | None = None
    picture_embedding: Floats | None = None

    def __len__(self) -> int:
        return len(self.masks)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; masks as COCO RLE, embeddings if there are any."""
        found: dict[str, Any] = {
            "boxes": to_json(self.boxes),
            "masks": [mask.to_coco() for mask in self.masks],
            "scores": to_json(self.scores),
            "stability": to_json(self.stability),
            "size_hw": list(self.size_hw),
        }
        if self.embeddings is not None:
            found["embeddings"] = self.embeddings.tolist()
        if self.picture_embedding is not None:
            found["picture_embedding"] = self.picture_embedding.tolist()
        return found

    def to_coco_json(self, image_id: int = 0) -> list[dict[str, Any]]:
        """COCO results: bbox is [left, top, width, height].

        category_id is 0 for all: a mask has no class. stability_score is segment-anything's.
        """
        found = zip(self.boxes, self.masks, to_json(self.scores), strict=True)
        return [
            {
                "image_id": image_id,
                "category_id": 0,
                "bbox": to_xywh(box),
                "segmentation": mask.to_coco(),
                "area": mask.area,
                "score": score,
                "stability_score": stability,
            }
            for (box, mask, score), stability in zip(found, to_json(self.stability), strict=True)
        ]

    def to_supervision(self) -> supervision.Detections:
        """Convert to `supervision.Detections` with masks; ImportError without supervision.

        class_id is 0 for all: a mask has no class.
        """
        detections: supervision.Detections = supervision_module().Detections(
            xyxy=self.boxes.reshape(-1, 4).copy(),
            mask=stack_masks(self.masks, self.size_hw),
            confidence=self.scores.copy(),
            class_id=np.zeros(len(self), np.int64),
        )
        return detections


def to_inputs(
    image: bytes,
    points_per_side: int | None,
    iou_threshold: float | None,
    stability_threshold: float | None,
    min_area: int | None,
    min_piece: float | None,
    max_objects: int | None,
    full_size: bool | None,
) -> dict[str, TensorValue]:
    """A request's tensors; None is the server's own. Raises InvalidThreshold, InvalidSetting."""
    inputs: dict[str, TensorValue] = {"IMAGE": image}
    thresholds = {
        "IOU_THRESHOLD": iou_threshold,
        "STABILITY_THRESHOLD": stability_threshold,
        "MIN_PIECE": min_piece,
    }
    for name, threshold in thresholds.items():
        if threshold is not None:
            inputs[name] = prompts.check_threshold(name, threshold)
    counts = {"POINTS_PER_SIDE": points_per_side, "MIN_AREA": min_area, "MAX_OBJECTS": max_objects}
    for name, count in counts.items():
        if count is not None:
            inputs[name] = _count(name, count)
    if full_size is not None:
        inputs["FULL_SIZE"] = np.array([bool(full_size)], np.int32)
    return inputs


def _count(name: str, value: int) -> NDArray[np.int32]:
    """int32 [1]; the server checks the upper limit."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or not 0 <= value <= INT32_MAX:
        raise InvalidSetting(f"{name}: expected a whole number from 0, got {value!r:.80}")
    return np.array([value], np.int32)
