"""Training crops of objects, made as object search makes them, with the name of what they show.

Some are made with true masks. Others are made with the masks that a SAM returns for points: these
are looser, and some show only background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from transformers import SamModel

from demo.clip_config import EDGE
from demo.evaluate import HIT_IOU, mask_iou
from demo.scenes import Scene, box_of
from demo.things import INDEX_OF_NAME
from demo.train_sam_scenes import batch_of, scene_of
from fovea import crops
from fovea.families.sam import upsample
from fovea.geometry import Geometry
from fovea.images import BICUBIC

NOTHING = -1
# Masks with a lower predicted IoU are left out.
LEAST_SCORE = 0.4
BATCH = 8
# With a lower IoU with every thing, a mask shows nothing. Between this and HIT_IOU it shows part of
# a thing and is left out.
MOST_OF_NOTHING = 0.3
FEWEST_PIXELS = 60
_GEOMETRY = Geometry("squash", (EDGE, EDGE), (EDGE, EDGE), int(BICUBIC))

Masks = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ObjectCrops:
    """N crops, in the order of their scenes.

    pixels: uint8 (N, 3, EDGE, EDGE). names: int64 (N,), indices of LABELS, or NOTHING.
    scenes: int64 (N,), seeds.
    """

    pixels: NDArray[np.uint8]
    names: NDArray[np.int64]
    scenes: NDArray[np.int64]

    def save(self, path: Path) -> None:
        np.savez(path, pixels=self.pixels, names=self.names, scenes=self.scenes)

    @classmethod
    def load(cls, path: Path) -> ObjectCrops:
        with np.load(path) as arrays:
            return cls(*(arrays[name] for name in ("pixels", "names", "scenes")))


def served_crop(image: NDArray[np.uint8], mask: Masks) -> NDArray[np.uint8]:
    """The crop of an object by `fovea.crops`, uint8 (3, EDGE, EDGE), from a picture (H, W, 3)."""
    size_hw = (image.shape[0], image.shape[1])

    def mask_within(around: crops.Square, edge: int) -> Masks:
        return _nearest(mask, around, edge)

    box = np.array(box_of(mask), np.float32)
    made, _ = crops.crop(image, box, size_hw, mask_within, _GEOMETRY)
    return made


def _nearest(mask: Masks, around: crops.Square, edge: int) -> Masks:
    """The part of a mask (H, W) in a square, resized to `edge`; False beyond the picture."""
    places = (np.arange(edge) + 0.5) * ((around[2] - around[0]) / edge)
    rows, columns = (around[1] + places).astype(int), (around[0] + places).astype(int)
    inside = np.outer(
        (rows >= 0) & (rows < mask.shape[0]), (columns >= 0) & (columns < mask.shape[1])
    )
    rows, columns = rows.clip(0, mask.shape[0] - 1), columns.clip(0, mask.shape[1] - 1)
    found: Masks = mask[np.ix_(rows, columns)] & inside
    return found


def shown(scene: Scene, mask: Masks) -> int | None:
    """The index of the name of what a mask shows, NOTHING, or None for part of a thing."""
    ious = [mask_iou(mask, thing.mask) for thing in scene.objects]
    best = int(np.argmax(ious))
    if ious[best] > HIT_IOU:
        return INDEX_OF_NAME[scene.objects[best].label]
    return NOTHING if ious[best] < MOST_OF_NOTHING else None


@torch.inference_mode()
def answered_masks(model: SamModel, scenes: Sequence[Scene], seed: int) -> list[list[Masks]]:
    """For each scene: of each point one random mask, if its predicted IoU is high enough."""
    batch = batch_of(scenes, seed)
    labels = torch.ones(batch.points.shape[:3], dtype=torch.int)
    answer = model(pixel_values=batch.pixels, input_points=batch.points, input_labels=labels)
    rng = np.random.default_rng(seed)
    picks = rng.integers(answer.iou_scores.shape[-1], size=tuple(batch.owners.shape))
    rows = zip(scenes, answer.pred_masks, answer.iou_scores, picks, strict=True)
    return [
        [
            upsample(masks[pick].numpy(), scene.image.shape[:2], batch.pixels.shape[-1])
            for masks, scores, pick in zip(of_points, of_scores, of_picks, strict=True)
            if scores[pick] > LEAST_SCORE
        ]
        for scene, of_points, of_scores, of_picks in rows
    ]


def make(model: SamModel, first: int, count: int) -> ObjectCrops:
    """The crops of `count` scenes: of every true mask, and of the masks from points."""
    pixels, names, numbers = [], [], []
    for start in track(range(first, first + count, BATCH), "crops"):
        scenes = [scene_of(seed) for seed in range(start, start + BATCH)]
        answered = answered_masks(model, scenes, start)
        for number, (scene, masks) in enumerate(zip(scenes, answered, strict=True)):
            for mask in [*(thing.mask for thing in scene.objects), *masks]:
                name = shown(scene, mask) if mask.sum() >= FEWEST_PIXELS else None
                if name is not None:
                    pixels.append(served_crop(scene.image, mask))
                    names.append(name)
                    numbers.append(start + number)
    return ObjectCrops(np.stack(pixels), np.array(names), np.array(numbers))
