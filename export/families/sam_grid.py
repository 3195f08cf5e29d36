"""A mask decoder for a grid of points: three masks each, judged inside the graph.

Predicted IoU, stability, area and box leave the graph as 7 numbers a mask: 86 kB for 1,024 points,
whose masks would be a gigabyte. The masks of the few points that are kept are requested again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from export.network import Arrays
from fovea.everything import STABILITY_OFFSET
from fovea.families.sam import MASK_THRESHOLD, SamSpec
from fovea.prompts import FOREGROUND, PADDING

# Masks are judged at twice their resolution: for the demo's SAM at the threshold of 0.7, 0.998 of
# the masks then fall to the side that full resolution puts them on, and 0.995 at their own.
FINER = 2


class OfGrid(nn.Module):
    """Turns a mask decoder into a grid decoder: a mixin for one of its family.

    The picture's maps, grid_points [N, P, 2], valid_hw [N, 2], original_size_hw [N, 2] ->
    iou_scores, stability, areas [N, P, 3], mask_boxes [N, P, 3, 4], low_res_masks [N, P, 3, M, M].
    """

    size: int
    all_masks: Callable[..., tuple[Tensor, Tensor]]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        *maps, grid_points, valid_hw, original_size_hw = inputs
        coords, labels = single_points(grid_points)
        coords = to_input_frame(coords, valid_hw, original_size_hw)
        ious, masks = self.all_masks(*maps, coords, labels)
        ious, masks = ious[:, :, 1:], masks[:, :, 1:]
        return ious, *judged(masks, valid_hw, original_size_hw, self.size), masks


def to_input_frame(point_coords: Tensor, valid_hw: Tensor, original_size_hw: Tensor) -> Tensor:
    """Map points [N, P, K, 2] of the original pictures to the frame of the resized ones.

    Formula: segment-anything `ResizeLongestSide.apply_coords`.
    """
    scale = valid_hw.to(point_coords.dtype) / original_size_hw.to(point_coords.dtype)
    return point_coords * scale.flip(-1).view(-1, 1, 1, 2)


def single_points(grid_points: Tensor) -> tuple[Tensor, Tensor]:
    """[N, P, 2] -> prompts of one point with padding: [N, P, 2, 2], int32 [N, P, 2]."""
    coords = torch.stack([grid_points, torch.zeros_like(grid_points)], dim=2)
    labels = torch.tensor([FOREGROUND, PADDING], dtype=torch.int32)
    return coords, labels.expand(*grid_points.shape[:2], -1)


def judged(
    masks: Tensor, valid_hw: Tensor, original_size_hw: Tensor, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits [N, P, 3, M, M] of the canvas -> stability, areas [N, P, 3], boxes [N, P, 3, 4].

    Stability is the IoU of the mask with the threshold raised and lowered by STABILITY_OFFSET
    (segment-anything `calculate_stability_score`); an empty mask has 0. Areas and boxes xyxy, ends
    exclusive, are in pixels of the original picture.
    """
    finer = functional.interpolate(
        masks.flatten(0, 1), scale_factor=FINER, mode="bilinear", align_corners=False
    )
    edge = finer.shape[-1]
    finer = finer.view(*masks.shape[:3], edge, edge)
    valid = valid_hw.to(masks.dtype) * (edge / size)
    rows, columns = within(valid[:, 0], edge), within(valid[:, 1], edge)
    raised = in_rows(above(finer, MASK_THRESHOLD + STABILITY_OFFSET), rows, columns).sum(dim=-1)
    lowered = in_rows(above(finer, MASK_THRESHOLD - STABILITY_OFFSET), rows, columns).sum(dim=-1)
    drawn = above(finer, MASK_THRESHOLD)
    of_rows, of_columns = in_rows(drawn, rows, columns), in_columns(drawn, rows, columns)
    scale = original_size_hw.to(masks.dtype) / valid
    down, across = scale[:, 0].view(-1, 1, 1), scale[:, 1].view(-1, 1, 1)
    left, right = ends(of_columns > 0)
    top, bottom = ends(of_rows > 0)
    boxes = torch.stack([left * across, top * down, right * across, bottom * down], dim=-1)
    areas = of_rows.sum(dim=-1) * down * across
    return raised / lowered.clamp(min=1), areas, boxes


def within(valid: Tensor, edge: int) -> Tensor:
    """1 where the centre of one of `edge` pixels lies before `valid`, else 0: [N] -> [N, edge]."""
    return (torch.arange(edge).view(1, -1) + 0.5 < valid.unsqueeze(-1)).to(torch.float32)


def above(logits: Tensor, threshold: float) -> Tensor:
    """1 where logits are above a threshold, else 0: float32 of the same shape."""
    return (logits > threshold).to(torch.float32)


def in_rows(pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The number of ones in each row: [N, P, 3, h, w] -> [N, P, 3, h].

    rows [N, h] and columns [N, w] are 1 within the picture; only its pixels count. A matrix product
    leaves the others out for free, while masking all pixels costs as much as interpolating them.
    """
    return (pixels @ columns[:, None, None, :, None]).flatten(-2) * rows[:, None, None]


def in_columns(pixels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """The same for each column -> [N, P, 3, w]."""
    return (rows[:, None, None, None] @ pixels).flatten(-2) * columns[:, None, None]


def ends(line: Tensor) -> tuple[Tensor, Tensor]:
    """The first set place and the one after the last: bool [..., n] -> float32 [...] twice.

    Both are 0 if none is set.
    """
    edge = line.shape[-1]
    places = torch.arange(edge, dtype=torch.float32)
    last = (line * (places + 1)).amax(dim=-1)
    first = edge - (line * (edge - places)).amax(dim=-1)
    return first * (last > 0), last


def sample_grid(spec: SamSpec, batch: int, variant: int) -> Arrays:
    """A few points on landscape, portrait and square pictures; no maps of them."""
    rng = np.random.default_rng((batch, variant))
    edge = spec.image_size
    valid = [(edge, edge), (edge, edge * 3 // 4), (edge // 2, edge)][variant]
    original = [2 * valid[0] + variant, 2 * valid[1] - variant]
    points = rng.uniform(0, 1, (batch, [1, 8, 5][variant], 2)) * original[::-1]
    return {
        "grid_points": points.astype(np.float32),
        "valid_hw": np.tile(np.array(valid, np.int32), (batch, 1)),
        "original_size_hw": np.tile(np.array(original, np.int32), (batch, 1)),
    }
