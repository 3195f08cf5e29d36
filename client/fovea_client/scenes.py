"""The answer of segment_scene, and its inputs."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fovea_client import prompts
from fovea_client.answers import Answer
from fovea_client.errors import InvalidInput
from fovea_client.masks import Mask
from fovea_client.requests import TensorValue
from fovea_client.results import Floats, stack_masks, supervision_module, to_json, to_xywh

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, eq=False)
class SceneSegmentation:
    """The parts of a scene.

    masks: one per segment, N. labels: the names of their classes, N. label_indices: the ids of
    these, int32 [N]. scores: within [0, 1], [N]; all 1 from a semantic segmenter, whose segments
    are classes without scores. size_hw: (height, width) of the picture. label_map: uint16 [H, W],
    None unless requested: class ids from a semantic segmenter, else 1 + the segment's index, and 0
    for none.
    """

    masks: tuple[Mask, ...]
    labels: tuple[str, ...]
    label_indices: NDArray[np.int32]
    scores: Floats
    size_hw: tuple[int, int]
    label_map: NDArray[np.uint16] | None = None

    def __len__(self) -> int:
        return len(self.masks)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; masks as COCO RLE, without the label map, which only repeats them."""
        return {
            "masks": [mask.to_coco() for mask in self.masks],
            "labels": list(self.labels),
            "label_indices": self.label_indices.tolist(),
            "scores": to_json(self.scores),
            "size_hw": list(self.size_hw),
        }

    def to_coco_json(
        self, image_id: int = 0, categories: Mapping[str, int] | None = None
    ) -> list[dict[str, Any]]:
        """COCO results for `pycocotools.coco.COCO.loadRes`.

        bbox is the mask's own, [left, top, width, height]. category_id is the label's id in
        `categories`, such as the dataset's own, or else the class id. Raises InvalidInput for a
        label without one.
        """
        ids = self._category_ids(categories)
        found = zip(self.masks, self.labels, ids, to_json(self.scores), strict=True)
        return [
            {
                "image_id": image_id,
                "category_id": category_id,
                "category_name": label,
                "bbox": to_xywh(mask.box()),
                "segmentation": mask.to_coco(),
                "area": mask.area,
                "score": score,
            }
            for mask, label, category_id, score in found
        ]

    def _category_ids(self, categories: Mapping[str, int] | None) -> list[int]:
        if categories is None:
            ids: list[int] = self.label_indices.tolist()
            return ids
        missing = sorted(set(self.labels) - set(categories))
        if missing:
            raise InvalidInput(f"expected a category for each label, got none for {missing}")
        return [categories[label] for label in self.labels]

    def to_supervision(self) -> supervision.Detections:
        """Convert to `supervision.Detections` with masks; ImportError without supervision.

        class_id is the class id, class_name the label.
        """
        detections: supervision.Detections = supervision_module().Detections(
            xyxy=np.array([mask.box() for mask in self.masks], np.float32).reshape(-1, 4),
            mask=stack_masks(self.masks, self.size_hw),
            confidence=self.scores.copy(),
            class_id=self.label_indices.astype(np.int64),
            data={"class_name": np.array(self.labels, dtype=np.str_)},
        )
        return detections


def to_inputs(image: bytes, threshold: float | None, *, label_map: bool) -> dict[str, TensorValue]:
    """A request's tensors; None is the server's own. Raises InvalidThreshold."""
    inputs: dict[str, TensorValue] = {"IMAGE": image}
    if threshold is not None:
        inputs["THRESHOLD"] = prompts.check_threshold("THRESHOLD", threshold)
    if label_map:
        inputs["WITH_LABEL_MAP"] = np.array([1], np.int32)
    return inputs


def read(answer: Answer) -> SceneSegmentation:
    """The result of an answer's tensors."""
    drawn = [_decode(bytes(png)) for png in answer.array("LABEL_MAP")]
    return SceneSegmentation(
        masks=answer.masks(),
        labels=answer.texts("PHRASES"),
        label_indices=answer.array("LABEL_INDICES"),
        scores=answer.array("SCORES"),
        size_hw=answer.size_hw(),
        label_map=drawn[0] if drawn else None,
    )


def _decode(png: bytes) -> NDArray[np.uint16]:
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(png))).astype(np.uint16)
