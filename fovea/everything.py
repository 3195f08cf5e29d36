"""Finds every object of a picture from a grid of points: chooses which of SAM's masks to keep.

Like segment-anything's `SamAutomaticMaskGenerator` without crops: three masks a point, those with
too low a predicted IoU or stability dropped, then non-maximum suppression of their boxes. Like its
`min_mask_region_area`, `min_piece` removes specks, which would make boxes too large to be compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fovea import boxes

# segment-anything's `box_nms_thresh`, and how far `stability_score_offset` moves the threshold.
NMS_IOU = 0.7
STABILITY_OFFSET = 1.0
# Masks whose low-resolution stability is below the threshold by more are not measured again.
SLACK = 0.15
# Points per call, segment-anything's `points_per_batch`: other requests run in between.
CHUNK = 64

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Settings:
    """The criteria for objects.

    points_per_side: of the grid, along each edge of the picture.
    iou_threshold, stability_threshold: the least values of a mask that counts, within [0, 1].
    min_area: least pixels of a mask, in the original picture.
    max_objects: most objects, those with the highest predicted IoU.
    min_piece: connected pieces with less than this share of their mask are dropped.
    full_size: measure stability, areas and boxes at the picture's size, as transformers does,
        not near the masks' low resolution.
    """

    points_per_side: int
    iou_threshold: float
    stability_threshold: float
    min_area: int
    max_objects: int
    min_piece: float = 0.0
    full_size: bool = False

    @property
    def chunks(self) -> int:
        """Calls of the grid decoder that the grid needs."""
        return -(-(self.points_per_side**2) // CHUNK)


@dataclass(frozen=True)
class Candidates:
    """Three masks of each of P points, all arrays float32.

    Attributes:
        points: [P, 2], xy in pixels of the original picture.
        iou_scores: [P, 3], predicted by the decoder.
        stability: [P, 3], within [0, 1].
        areas: [P, 3], in pixels of the original picture.
        boxes_xyxy: [P, 3, 4], in the same pixels; zeros for an empty mask.
    """

    points: Floats
    iou_scores: Floats
    stability: Floats
    areas: Floats
    boxes_xyxy: Floats


def point_grid(points_per_side: int, original_hw: tuple[int, int]) -> Floats:
    """float32 [n * n, 2], xy in original pixels, row by row: the centres of n by n equal cells."""
    height, width = original_hw
    places = (np.arange(points_per_side) + 0.5) / points_per_side
    across, down = np.meshgrid(places * width, places * height)
    return np.stack([across, down], axis=-1, dtype=np.float32).reshape(-1, 2)


def chunked(points: Floats, size: int = CHUNK) -> Iterator[Floats]:
    """The points in order, `size` at a time."""
    for start in range(0, len(points), size):
        yield points[start : start + size]


def worth_measuring(
    iou_scores: Floats, stability: Floats, settings: Settings
) -> Iterator[NDArray[np.int64]]:
    """Pairs of a point and one of its masks that full size may let through, int64 [n, 2] a chunk.

    iou_scores, stability: [P, 3], at low resolution.
    """
    likely = iou_scores >= settings.iou_threshold
    likely &= stability >= settings.stability_threshold - SLACK
    places: NDArray[np.int64] = np.argwhere(likely)
    for start in range(0, len(places), CHUNK):
        yield places[start : start + CHUNK]


def keep(candidates: Candidates, settings: Settings) -> NDArray[np.int64]:
    """The point and the number of its mask for each object, int64 [n, 2], surest first."""
    wanted = (
        (candidates.iou_scores >= settings.iou_threshold)
        & (candidates.stability >= settings.stability_threshold)
        & (candidates.areas >= max(settings.min_area, 1))
    )
    chosen = distinct(
        candidates.boxes_xyxy[wanted], candidates.iou_scores[wanted], settings.max_objects
    )
    kept: NDArray[np.int64] = np.argwhere(wanted)[chosen]
    return kept


def distinct(boxes_xyxy: Floats, scores: Floats, most: int | None = None) -> NDArray[np.int64]:
    """Indices of the boxes that show different objects, int64 [n], surest first, at most `most`."""
    return boxes.non_maximum_suppression(boxes_xyxy, scores, NMS_IOU, most=most)


def without_specks(logits: Floats, covered_hw: tuple[int, int], min_piece: float) -> Floats:
    """Logits [M, M] of a mask without its pieces smaller than `min_piece` of it.

    Pieces are connected by edges or corners. covered_hw: the rows and columns that show the
    picture; what lies beyond them does not count. Dropped pixels get the opposite sign.
    """
    rows, columns = covered_hw
    inside = (logits[:rows, :columns] > 0).astype(np.uint8)
    _, pieces, figures, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    areas = figures[:, cv2.CC_STAT_AREA]
    small = areas < min_piece * inside.sum()
    small[0] = False  # what is not in the mask
    kept = logits.copy()
    kept[:rows, :columns][small[pieces]] *= -1
    return kept
