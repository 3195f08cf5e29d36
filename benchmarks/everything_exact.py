"""segment_everything in parity mode: what is served, but judged at the picture's full size.

The grid decoder judges masks at twice their low resolution. Where stability and boxes are measured
at full size instead, as transformers does, the same masks are to be found.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from export.parity import Session, open_onnxruntime
from export.repository import onnx_path
from fovea import everything
from fovea.everything import STABILITY_OFFSET, Candidates, Settings
from fovea.families.sam import MASK_THRESHOLD, Sam
from fovea.images import Picture
from fovea.layout import REPOSITORY
from fovea.manifest import exported_deployment
from fovea.roles import (
    AREAS,
    GRID_POINTS,
    IOU_SCORES,
    LOW_RES_MASKS,
    MASK_BOXES,
    ORIGINAL_SIZE,
    PIXEL_VALUES,
    STABILITY,
    VALID_HW,
    Arrays,
)
from fovea.specs import ModelSpec

# Masks whose stability at low resolution is below the threshold by more are not measured again.
SLACK = 0.15
NO_LIMIT = 1_000_000


class Exact:
    """A promptable member of an export folder, in this process."""

    def __init__(self, export: Path, member: str) -> None:
        cuts = exported_deployment(export).play(member)
        assert isinstance(cuts, Sam)
        self._cuts = cuts
        self._sessions: dict[str, Session] = {
            network.name: open_onnxruntime(onnx_path(export / REPOSITORY, network.name))
            for network in (cuts.image_network, cuts.grid_decoder)
        }

    def masks(self, image: Image.Image, settings: Settings) -> NDArray[np.bool_]:
        """bool [N, H, W], the surest first."""
        original_hw = (image.height, image.width)
        found = self._decode(image, settings)
        places = np.argwhere(
            (found[IOU_SCORES] >= settings.iou_threshold)
            & (found[STABILITY] >= settings.stability_threshold - SLACK)
        )
        for place in map(tuple, places):
            logits = self._full_size(found[LOW_RES_MASKS][place], original_hw)
            drawn = logits > MASK_THRESHOLD
            raised = (logits > MASK_THRESHOLD + STABILITY_OFFSET).sum()
            lowered = (logits > MASK_THRESHOLD - STABILITY_OFFSET).sum()
            found[STABILITY][place] = raised / max(1, lowered)
            found[AREAS][place] = drawn.sum()
            found[MASK_BOXES][place] = box_of(drawn)
        names = (GRID_POINTS.name, IOU_SCORES, STABILITY, AREAS, MASK_BOXES)
        kept = everything.keep(Candidates(*(found[name] for name in names)), settings)
        masks = [found[LOW_RES_MASKS][place] for place in map(tuple, kept)]
        drawn_all = [self._full_size(one, original_hw) > MASK_THRESHOLD for one in masks]
        return np.array(drawn_all, np.bool_).reshape(-1, *original_hw)

    def _decode(self, image: Image.Image, settings: Settings) -> Arrays:
        """Every output of the grid decoder, and the points, of the whole grid."""
        original_hw = (image.height, image.width)
        pixels, valid_hw = self._cuts.geometry.apply(Picture(image))
        picture: Arrays = {
            VALID_HW: valid_hw[None],
            ORIGINAL_SIZE.name: np.array([original_hw], np.int32),
        }
        seen = {PIXEL_VALUES: pixels[None], VALID_HW: valid_hw[None]}
        maps = self._run(self._cuts.image_network, seen)
        points = everything.point_grid(settings.points_per_side, original_hw)
        answers = [
            self._run(self._cuts.grid_decoder, maps | picture | {GRID_POINTS.name: chunk[None]})
            for chunk in everything.chunked(points)
        ]
        joined = {name: np.concatenate([one[name][0] for one in answers]) for name in answers[0]}
        return joined | {GRID_POINTS.name: points}

    def _run(self, network: ModelSpec, feed: Arrays) -> Arrays:
        names = [tensor.name for tensor in network.outputs]
        return dict(zip(names, self._sessions[network.name].run(names, feed), strict=True))

    def _full_size(
        self, logits: NDArray[np.float32], original_hw: tuple[int, int]
    ) -> NDArray[np.float32]:
        """Formula: transformers `post_process_masks`."""
        height, width = self._cuts.geometry.resized_hw(original_hw)
        size = self._cuts.spec.image_size
        square = _bilinear(torch.from_numpy(logits)[None, None], (size, size))
        return np.asarray(_bilinear(square[..., :height, :width], original_hw)[0, 0])


def _bilinear(values: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    return functional.interpolate(values, size_hw, mode="bilinear", align_corners=False)


def box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """xyxy, ends inclusive, as transformers has it; zeros for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])
