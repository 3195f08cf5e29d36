"""YOLOs as ONNX files that users bring: boxes of many anchors, suppressed by class.

Letterbox, non-maximum suppression and thresholds are the upstream predictors': ultralytics
`YOLO.predict` (conf 0.25, iou 0.7, at most 300 boxes, the best class of a box) and super-gradients
`YoloNAS.predict` (the same, but every class of a box that is above the threshold, among the 1,024
best).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from fovea import boxes, images
from fovea.geometry import Geometry
from fovea.roles import PIXEL_VALUES, Arrays, Detections, Detector, Selection
from fovea.specs import ModelSpec, TensorSpec, network_spec

BOX_THRESHOLD, NMS_IOU, MAX_BOXES = 0.25, 0.7, 300
# YOLO-NAS suppresses among this many of the best boxes.
NAS_CANDIDATES = 1024

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class YoloSpec:
    """What a YOLO's ONNX file fixes.

    image_hw: size of the network's picture in pixels. content_hw: the part that the picture may
    fill. num_anchors: boxes of a picture before suppression. class_names: by class id.
    box_threshold: default of the score for a box. nms_iou: boxes that overlap a better one of their
    class by more are dropped.
    """

    image_hw: tuple[int, int]
    content_hw: tuple[int, int]
    num_anchors: int
    class_names: tuple[str, ...]
    box_threshold: float = BOX_THRESHOLD
    nms_iou: float = NMS_IOU


class _Yolo(Detector[YoloSpec]):
    """What both kinds of files share."""

    Spec = YoloSpec

    @property
    def geometry(self) -> Geometry:
        return Geometry(
            rule="letterbox",
            edges=self.spec.content_hw,
            output_hw=self.spec.image_hw,
            resample=int(images.BILINEAR),
        )

    def _network(self, *outputs: TensorSpec) -> ModelSpec:
        return network_spec(
            self.name,
            inputs=(TensorSpec(PIXEL_VALUES, "UINT8", (3, *self.spec.image_hw)),),
            outputs=outputs,
            max_batch_size=8,
        )

    def _corner(self, original_hw: tuple[int, int]) -> tuple[int, int]:
        """Top and left of the picture on the canvas, where its boxes begin."""
        return self.geometry.letterbox_offset(original_hw)

    def _detections(
        self,
        canvas_xyxy: Floats,
        scores: Floats,
        class_ids: NDArray[np.int64],
        original_hw: tuple[int, int],
        max_boxes: int,
    ) -> Detections:
        """Boxes that count, in pixels of the canvas -> those that stay, in original pixels."""
        kept = suppressed_by_class(canvas_xyxy, scores, class_ids, self.spec.nms_iou)
        kept = kept[: min(MAX_BOXES, max_boxes)]
        top, left = self._corner(original_hw)
        offset = np.array([left, top, left, top], np.float32)
        scale = np.float32(self.geometry.letterbox_scale(original_hw))
        found = boxes.clip((canvas_xyxy[kept] - offset) / scale, original_hw)
        ids = class_ids[kept].astype(np.int32)
        names = [self.spec.class_names[index] for index in ids]
        return Detections(found, scores[kept], ids, names)


class Yolov8(_Yolo):
    """The output of `yolo export format=onnx`: predictions float32 [4 + C, A].

    For each of A anchors: cxcywh in pixels of the canvas, and the probability of each of C classes.
    """

    @property
    def image_network(self) -> ModelSpec:
        rows = 4 + len(self.spec.class_names)
        return self._network(TensorSpec("predictions", "FP32", (rows, self.spec.num_anchors)))

    def _corner(self, original_hw: tuple[int, int]) -> tuple[int, int]:
        """As ultralytics' `scale_boxes`: from the picture's size before it is rounded.

        So it can be a pixel of the canvas away from where `LetterBox` puts the picture.
        """
        scale = self.geometry.letterbox_scale(original_hw)
        edges = zip(self.spec.image_hw, original_hw, strict=True)
        top, left = (round((canvas - edge * scale) / 2 - 0.1) for canvas, edge in edges)
        return top, left

    def select(
        self, answer: Arrays, original_hw: tuple[int, int], selection: Selection
    ) -> Detections:
        rows = answer["predictions"].T
        class_ids = rows[:, 4:].argmax(axis=1)
        scores = rows[:, 4:].max(axis=1)
        above = scores > selection.box_threshold
        centres, halves = rows[above, :2], rows[above, 2:4] / 2
        canvas_xyxy = np.concatenate([centres - halves, centres + halves], axis=1)
        return self._detections(
            canvas_xyxy, scores[above], class_ids[above], original_hw, selection.max_boxes
        )


class YoloNas(_Yolo):
    """The outputs of super-gradients' `export(postprocessing=False)`.

    boxes float32 [A, 4] xyxy in pixels of the canvas, scores float32 [A, C] within [0, 1].
    """

    @property
    def image_network(self) -> ModelSpec:
        anchors = self.spec.num_anchors
        return self._network(
            TensorSpec("boxes", "FP32", (anchors, 4)),
            TensorSpec("scores", "FP32", (anchors, len(self.spec.class_names))),
        )

    def select(
        self, answer: Arrays, original_hw: tuple[int, int], selection: Selection
    ) -> Detections:
        scores = answer["scores"]
        anchors, class_ids = np.nonzero(scores > selection.box_threshold)
        found = scores[anchors, class_ids]
        best = np.argsort(-found, kind="stable")[:NAS_CANDIDATES]
        return self._detections(
            answer["boxes"][anchors[best]],
            found[best],
            class_ids[best],
            original_hw,
            selection.max_boxes,
        )


def suppressed_by_class(
    boxes_xyxy: Floats, scores: Floats, class_ids: NDArray[np.int64], iou: float
) -> NDArray[np.int64]:
    """Indices of the boxes to keep, best first: none overlaps a better one of its class by more.

    boxes_xyxy [N, 4], scores [N], class_ids [N]. If scores are equal, the first box wins.
    """
    if not len(scores):
        return np.zeros(0, np.int64)
    corner, size = boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    xywh: Any = np.concatenate([corner, size], axis=1).astype(np.float64)
    ids: Any = class_ids.astype(np.int32)
    chosen: Any = cv2.dnn.NMSBoxesBatched(xywh, cast(Any, scores), ids, -np.inf, iou)
    kept: NDArray[np.int64] = np.asarray(chosen, np.int64).reshape(-1)
    best = np.argsort(-scores[kept], kind="stable")
    return np.asarray(kept[best])
