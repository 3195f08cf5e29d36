"""What detectors with classes of their own share: scored boxes -> an answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fovea import boxes
from fovea.roles import Detections, Selection

Floats = NDArray[np.float32]


def best(
    pred_boxes: Floats,
    scores: Floats,
    class_ids: NDArray[np.int64],
    class_names: tuple[str, ...],
    original_hw: tuple[int, int],
    selection: Selection,
) -> Detections:
    """The boxes above the threshold, best first, without suppression, clipped to the picture.

    pred_boxes [N, 4] cxcywh as fractions of the picture, scores [N], class_ids [N]. Equal scores
    keep the order of their boxes.
    """
    above = np.flatnonzero(scores > selection.box_threshold)
    order = above[np.argsort(-scores[above], kind="stable")][: selection.max_boxes]
    inside = boxes.clip(boxes.to_xyxy(pred_boxes[order], original_hw), original_hw)
    ids = class_ids[order].astype(np.int32)
    return Detections(inside, scores[order], ids, [class_names[index] for index in ids])
