"""Boxes and their frames.

`boxes_xyxy`: float32 [N, 4], left, top, right, bottom in pixels of the original picture.
`boxes_cxcywh`: float32 [N, 4], centre and size as fractions of the picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def to_xyxy(boxes_cxcywh: Floats, original_size_hw: tuple[int, int]) -> Floats:
    """boxes_cxcywh [N, 4] as boxes_xyxy in original pixels, not clipped."""
    height, width = original_size_hw
    centre, half = boxes_cxcywh[:, :2], boxes_cxcywh[:, 2:] / 2
    scale = np.array([width, height, width, height], np.float32)
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32) * scale


def clip(boxes_xyxy: Floats, original_size_hw: tuple[int, int]) -> Floats:
    """boxes_xyxy within the picture."""
    height, width = original_size_hw
    return np.clip(boxes_xyxy, 0, np.array([width, height, width, height], np.float32))


def area(boxes_xyxy: Floats) -> Floats:
    """Areas in square pixels, [N]."""
    return np.asarray(np.prod(np.clip(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0, None), axis=1))


def pairwise_iou(a_xyxy: Floats, b_xyxy: Floats) -> Floats:
    """Intersection over union, [len(a), len(b)]; 0 if both are empty."""
    low = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    high = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    union = area(a_xyxy)[:, None] + area(b_xyxy)[None, :] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), np.float32)


def non_maximum_suppression(
    boxes_xyxy: Floats, scores: Floats, iou: float, *, most: int | None = None
) -> NDArray[np.int64]:
    """Indices of the boxes to keep, best first: none overlaps a better one by more than `iou`.

    most: limits their number. Each kept box is compared with all, not all with all: of thousands,
    few are kept. OpenCV's function has no such limit: for 100 of 20,000 boxes it takes ten times as
    long.
    """
    order = np.argsort(-scores, kind="stable")
    ordered, left = boxes_xyxy[order], np.ones(len(order), np.bool_)
    keep: list[int] = []
    while left.any() and len(keep) != most:
        best = int(left.argmax())
        keep.append(best)
        left &= ~(pairwise_iou(ordered[[best]], ordered)[0] > iou)
        left[best] = False
    kept: NDArray[np.int64] = order[keep].astype(np.int64)
    return kept


def best(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    kept: NDArray[np.bool_],
    *,
    nms_iou: float,
    max_boxes: int,
) -> NDArray[np.int64]:
    """Indices of an answer's boxes among [N, 4] with scores [N], best first: [at most max].

    kept: bool [N], those that count. nms_iou: boxes that overlap a better one by more are dropped.
    """
    candidates = np.flatnonzero(kept)
    order = non_maximum_suppression(
        boxes_xyxy[candidates], scores[candidates], nms_iou, most=max_boxes
    )
    chosen: NDArray[np.int64] = candidates[order]
    return chosen
