"""Squashed scenes with their things, made once, kept on disk and shown in random windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from demo.pixels import class_map
from demo.scenes import Rng, make_scene, scene_rng
from demo.training import WORK_FOLDER

# Edges in pixels: of the networks, of the kept scenes, and of the smallest window of a scene.
EDGE, KEPT_EDGE, LEAST = 192, 208, 176
# Longest edge of scenes before they are squashed.
SCENE_EDGE = 256
# The stored scenes of a training.
SCENES = 4000
# Keeps their seeds apart from those of other trainings.
SEED_SHIFT = 900

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class StoredScenes:
    """Scenes of the training split.

    pictures: uint8 (N, KEPT_EDGE, KEPT_EDGE, 3). classes: uint8 (N, KEPT_EDGE, KEPT_EDGE), the
    thing at each pixel, or `demo.things.BACKGROUND`.
    """

    pictures: Bytes
    classes: Bytes

    def views(self, rng: Rng, count: int) -> tuple[Bytes, Bytes]:
        """Windows of randomly drawn scenes, half of them mirrored.

        Returns uint8 (count, EDGE, EDGE, 3) and (count, EDGE, EDGE).
        """
        pictures = np.empty((count, EDGE, EDGE, 3), np.uint8)
        classes = np.empty((count, EDGE, EDGE), np.uint8)
        for place, index in enumerate(rng.integers(len(self.pictures), size=count)):
            height, width = rng.integers(LEAST, KEPT_EDGE + 1, 2)
            top, left = rng.integers(0, KEPT_EDGE + 1 - np.array((height, width)))
            window = np.s_[top : top + height, left : left + width]
            step = rng.choice((1, -1))
            pictures[place] = squashed(self.pictures[index][window])[:, ::step]
            classes[place] = _squashed_classes(self.classes[index][window], EDGE)[:, ::step]
        return pictures, classes


def squashed(picture: Bytes, edge: int = EDGE) -> Bytes:
    """uint8 (H, W, 3) to (edge, edge, 3)."""
    shrinks = min(picture.shape[:2]) >= edge
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (edge, edge), interpolation=how), np.uint8)


def _squashed_classes(classes: Bytes, edge: int) -> Bytes:
    resized = cv2.resize(classes, (edge, edge), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, np.uint8)


def stored_scene(seed: int) -> tuple[Bytes, Bytes]:
    """A scene of the training split and the thing at each of its pixels, both squashed."""
    scene = make_scene(seed, size=SCENE_EDGE)
    return squashed(scene.image, KEPT_EDGE), _squashed_classes(class_map(scene), KEPT_EDGE)


def stored_scenes(count: int, first_seed: int) -> StoredScenes:
    """`count` scenes, read from disk if an earlier run made them."""
    folder = WORK_FOLDER / f"scenes-{first_seed}-{count}"
    pictures, classes = folder / "pictures.npy", folder / "classes.npy"
    if not classes.exists():
        folder.mkdir(parents=True, exist_ok=True)
        made = [stored_scene(first_seed + index) for index in track(range(count), "scenes")]
        np.save(pictures, np.stack([picture for picture, _ in made]))
        np.save(classes, np.stack([of for _, of in made]))
    return StoredScenes(np.load(pictures, mmap_mode="r"), np.load(classes, mmap_mode="r"))


def training_views(seed: int, batch: int) -> Callable[[int], tuple[Bytes, Bytes]]:
    """The views of a step: `batch` of them, which depend only on the seed and the step."""
    scenes = stored_scenes(SCENES, (seed + SEED_SHIFT) * 10_000_000)
    return lambda step: scenes.views(scene_rng(step, "train views"), batch)
