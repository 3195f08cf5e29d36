"""Scenes that training shows more than once, made in a separate process."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from demo.scenes import make_scene, scene_rng
from demo.things import INDEX_OF_NAME

FRESH, OLD = 24, 40
STEPS_KEPT = 400
STEPS_AHEAD = 4
# Two of three scenes show a single thing, the third any number.
SINGLE_OF_THREE = 2

Squares = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Source:
    """Numbered scenes of the training split.

    Attributes:
        first_seed: of scene 0.
        shortest: short side S of the scenes, from which the middle squares are cut.
    """

    first_seed: int
    shortest: int

    def squares(self, step: int) -> Squares:
        """A step's fresh scenes: uint8 (FRESH, S, S, 3), and their main things int64 (FRESH,)."""
        pictures, things = [], []
        for index in range(step * FRESH, (step + 1) * FRESH):
            count = 1 if index % 3 < SINGLE_OF_THREE else None
            seed = self.first_seed + index
            scene = make_scene(seed, shortest=self.shortest, n_objects=count)
            top, left = ((edge - self.shortest) // 2 for edge in scene.image.shape[:2])
            pictures.append(scene.image[top : top + self.shortest, left : left + self.shortest])
            things.append(INDEX_OF_NAME[scene.main.label])
        return np.stack(pictures), np.array(things)


class ReplayedScenes:
    """Batches of fresh scenes and of some from the last `STEPS_KEPT` steps.

    A batch depends only on its step: a resumed run makes the kept scenes again.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._scenes: dict[int, Future[Squares]] = {}
        # A fork would inherit PyTorch's threads in a state that hangs.
        spawn = multiprocessing.get_context("spawn")
        self._maker = ProcessPoolExecutor(
            1, mp_context=spawn, initializer=cv2.setNumThreads, initargs=(1,)
        )

    def __call__(self, step: int) -> Squares:
        """uint8 (FRESH + OLD, S, S, 3) and int64 (FRESH + OLD,)."""
        oldest = max(0, step - STEPS_KEPT)
        for wanted in range(oldest, step + STEPS_AHEAD):
            if wanted not in self._scenes:
                self._scenes[wanted] = self._maker.submit(self._source.squares, wanted)
        self._scenes.pop(oldest - 1, None)
        rng = scene_rng(step, "train replay")
        shown = rng.integers(oldest, max(step, 1), size=OLD)
        places = rng.integers(FRESH, size=OLD)
        fresh = self._scenes[step].result()
        old = [self._scenes[int(shown_at)].result() for shown_at in shown]
        pictures = [picture[i] for (picture, _), i in zip(old, places, strict=True)]
        things = [thing[i] for (_, thing), i in zip(old, places, strict=True)]
        return np.concatenate([fresh[0], pictures]), np.concatenate([fresh[1], things])
