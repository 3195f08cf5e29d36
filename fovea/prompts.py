"""SAM's prompts: points with labels.

Labels: 1 foreground, 0 background, 2 and 3 the top left and bottom right corner of a box, -1
padding. A box is two points, a single point gets one padding point, so both batch together.
More padding is not neutral: it changes the mask.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fovea.errors import InvalidPrompt
from fovea.limits import Limits

BACKGROUND, FOREGROUND, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT, PADDING = 0, 1, 2, 3, -1


def check_prompts(
    point_coords: NDArray[np.float32],
    point_labels: NDArray[np.int32],
    original_size_hw: tuple[int, int],
    limits: Limits,
) -> None:
    """Raise InvalidPrompt unless [P, K, 2] and [P, K] are points and boxes within the picture."""
    count, points = point_labels.shape
    if point_coords.shape != (count, points, 2):
        raise InvalidPrompt(
            f"expected point_coords [P, K, 2] and point_labels [P, K], "
            f"got {list(point_coords.shape)} and {list(point_labels.shape)}"
        )
    if not (1 <= count <= limits.prompts and 1 <= points <= limits.points):
        raise InvalidPrompt(
            f"expected 1 to {limits.prompts} prompts of 1 to {limits.points} points, "
            f"got {count} of {points}"
        )
    height, width = original_size_hw
    if count > limits.masks_of(original_size_hw):
        raise InvalidPrompt(
            f"expected at most {limits.masks_of(original_size_hw)} prompts on {width}x{height} "
            f"pixels ({limits.mask_pixels} pixels of masks), got {count}"
        )
    if not np.isin(point_labels, (-1, 0, 1, 2, 3)).all():
        raise InvalidPrompt(f"expected labels -1, 0, 1, 2 or 3, got {point_labels.tolist()}")
    if (point_labels == PADDING).all(axis=1).any():
        raise InvalidPrompt("expected a point or a box in each prompt, got only padding")
    real = point_labels != PADDING
    _check_inside(point_coords[real], original_size_hw)
    _check_corners(point_coords, point_labels)


def _check_inside(points_xy: NDArray[np.float32], original_size_hw: tuple[int, int]) -> None:
    height, width = original_size_hw
    if not np.isfinite(points_xy).all():
        raise InvalidPrompt(f"expected finite coordinates, got {points_xy.tolist()}")
    outside = (points_xy < 0).any(axis=1) | (points_xy > (width, height)).any(axis=1)
    if outside.any():
        raise InvalidPrompt(
            f"expected points within the picture of {width}x{height} pixels, "
            f"got {points_xy[outside][0].tolist()}"
        )


def _check_corners(point_coords: NDArray[np.float32], point_labels: NDArray[np.int32]) -> None:
    first, last = point_labels == BOX_TOP_LEFT, point_labels == BOX_BOTTOM_RIGHT
    corners = first.sum(axis=1)
    if (corners != last.sum(axis=1)).any() or (corners > 1).any():
        raise InvalidPrompt(
            f"expected labels 2 and 3 once each in a prompt with a box, got {point_labels.tolist()}"
        )
    if (point_coords[last] <= point_coords[first]).any():
        raise InvalidPrompt(
            "expected boxes with left < right and top < bottom, "
            f"got corners {point_coords[first].tolist()} and {point_coords[last].tolist()}"
        )


def box_prompts(boxes_xyxy: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Boxes [N, 4] as point_coords [N, 2, 2] and point_labels [N, 2] in the same frame."""
    labels = np.tile(np.array([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT], np.int32), (len(boxes_xyxy), 1))
    return boxes_xyxy.reshape(-1, 2, 2).astype(np.float32), labels


def pad_points(
    point_coords: NDArray[np.float32], point_labels: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Give prompts without a box the one padding point that SAM was trained with.

    All prompts of a request have K points; if none has a box or padding yet, K grows by 1.
    """
    if np.isin(point_labels, (BOX_TOP_LEFT, PADDING)).any():
        return point_coords, point_labels
    coords = np.pad(point_coords, ((0, 0), (0, 1), (0, 0)))
    return coords, np.pad(point_labels, ((0, 0), (0, 1)), constant_values=PADDING)


def pad_prompts(
    point_coords: NDArray[np.float32], point_labels: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Pad prompts to the next power of two, so that requests batch; prompts don't interact.

    A padding prompt has only labels -1; `sam.choose_masks` drops it.
    """
    count = len(point_labels)
    target = 1 << max(0, count - 1).bit_length()
    coords = np.pad(point_coords, ((0, target - count), (0, 0), (0, 0)))
    labels = np.pad(point_labels, ((0, target - count), (0, 0)), constant_values=PADDING)
    return coords, labels
