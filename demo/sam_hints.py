"""Extra targets for SAM's image embedding during training.

Masks of a few prompts teach an encoder slowly. Linear heads on its embedding, used only in
training, predict every pixel of every object: which thing, which pixels, where one object ends
and the next begins, and how far the sides of its box are. If they can read it, so can the mask
decoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from demo.sam_config import EDGE, LOW_RES_EDGE, PATCH
from demo.scenes import Scene
from demo.things import INDEX_OF_NAME, LABELS

# The heads answer for this many parts of a cell, each way.
THING_PARTS = 2
PIXEL_PARTS = LOW_RES_EDGE * PATCH // EDGE
NOTHING = len(LABELS)


@dataclass(frozen=True)
class Truth:
    """The heads' targets for N pictures.

    Attributes:
        things: int64 (N, t, t), the thing at the middle of each part of a cell, or `NOTHING`.
        pixels: float32 (N, 3, l, l): an object is here; it differs from the one to the right, and
        from the one below.
        reach: float32 (N, 4, g, g), from the middle of each cell to its owner's box: left, top,
            right, bottom, as shares of the picture's edge; zero without an owner.
        owned: float32 (N, 1, g, g), whether an object is in the middle of the cell.
    """

    things: torch.Tensor
    pixels: torch.Tensor
    reach: torch.Tensor
    owned: torch.Tensor


def _owner_map(scene: Scene) -> np.ndarray:
    """int64 (EDGE, EDGE): the object at every pixel, -1 for none."""
    owners = np.full((EDGE, EDGE), -1, np.int64)
    for index, item in enumerate(scene.objects):
        height, width = item.mask.shape
        owners[:height, :width][item.mask] = index
    return owners


def _middles(values: np.ndarray, parts: int) -> np.ndarray:
    """The middles of `parts` by `parts` squares of a map (EDGE, EDGE)."""
    stride = EDGE // parts
    return values[stride // 2 :: stride, stride // 2 :: stride]


def _truth_of(scene: Scene) -> tuple[np.ndarray, ...]:
    owners, grid = _owner_map(scene), EDGE // PATCH
    names = np.array([*(INDEX_OF_NAME[item.label] for item in scene.objects), NOTHING])
    boxes = np.array([*(item.box_xyxy for item in scene.objects), (0.0,) * 4])

    fine = np.pad(_middles(owners, LOW_RES_EDGE), ((0, 1), (0, 1)), mode="edge")
    here = fine[:-1, :-1]
    pixels = np.stack([here >= 0, here != fine[:-1, 1:], here != fine[1:, :-1]])

    cells = _middles(owners, grid)
    centres = np.arange(grid) * PATCH + PATCH / 2
    x, y = np.meshgrid(centres, centres)
    left, top, right, bottom = np.moveaxis(boxes[cells], -1, 0)
    reach = np.stack([x - left, y - top, right - x, bottom - y]) / EDGE * (cells >= 0)
    return names[_middles(owners, THING_PARTS * grid)], pixels, reach, cells[None] >= 0


def truth_of(scenes: list[Scene]) -> Truth:
    """The truth of scenes whose longest edge is EDGE."""
    things, *maps = (np.stack(parts) for parts in zip(*map(_truth_of, scenes), strict=True))
    return Truth(torch.from_numpy(things), *(torch.from_numpy(m.astype(np.float32)) for m in maps))


class Hints(nn.Module):
    """The heads, each one linear layer on every cell of the embedding.

    Args:
        width: channels of the image embedding.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.things = nn.Conv2d(width, (NOTHING + 1) * THING_PARTS**2, 1)
        self.pixels = nn.Conv2d(width, 3 * PIXEL_PARTS**2, 1)
        self.reach = nn.Conv2d(width, 4, 1)

    def forward(self, embeddings: torch.Tensor, truth: Truth) -> dict[str, torch.Tensor]:
        """Loss of each head; embeddings (N, width, g, g)."""
        things = F.pixel_shuffle(self.things(embeddings), THING_PARTS)
        pixels = F.pixel_shuffle(self.pixels(embeddings), PIXEL_PARTS)
        off = (self.reach(embeddings) - truth.reach).abs() * truth.owned
        return {
            "things": F.cross_entropy(things, truth.things),
            "pixels": 3 * F.binary_cross_entropy_with_logits(pixels, truth.pixels),
            "reach": off.sum() / truth.owned.sum().clamp_min(1),
        }
