"""Pictures to search in, on disk, and their truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fovea_client import Mask
from fovea_search import Find
from numpy.typing import NDArray
from PIL import Image

from demo.evaluate import HIT_IOU, mask_iou
from demo.samples import JPEG_QUALITY
from demo.scenes import Scene, make_surrounded
from demo.surroundings import Surroundings
from fovea.masks import encode_rle


@dataclass(frozen=True)
class TrueThing:
    """A thing that can be found. picture: the path. style: of its drawing."""

    picture: str
    label: str
    style: str
    surroundings: Surroundings
    mask: Mask

    def is_in(self, words: str | None) -> bool:
        """Whether its scene is 'at night', 'on the beach' and the like; always for None."""
        return words is None or words in self.surroundings.words


class World:
    """The things of all pictures: `things` in order, and their indices by picture."""

    def __init__(self) -> None:
        self.things: list[TrueThing] = []
        self.of_picture: dict[str, list[int]] = {}

    def add(self, path: Path, scene: Scene) -> None:
        """Add a picture of a scene that has surroundings."""
        assert scene.surroundings is not None
        picture = str(path.resolve())
        first = len(self.things)
        for thing in scene.objects:
            mask = Mask(encode_rle(thing.mask), (thing.mask.shape[0], thing.mask.shape[1]))
            self.things.append(
                TrueThing(picture, thing.label, thing.style, scene.surroundings, mask)
            )
        self.of_picture[picture] = list(range(first, len(self.things)))

    def fitting(self, picture: str, mask: NDArray[np.bool_]) -> tuple[int, float]:
        """The index of the thing that a mask, bool [H, W], fits best, and their IoU."""
        ious = [mask_iou(mask, self.things[i].mask.to_numpy()) for i in self.of_picture[picture]]
        best = int(np.argmax(ious))
        return self.of_picture[picture][best], ious[best]

    def thing_of(self, find: Find) -> TrueThing | None:
        """The thing that a result shows; None if its mask fits nothing."""
        assert find.mask is not None
        place, iou = self.fitting(find.path, find.mask.to_numpy())
        return self.things[place] if iou > HIT_IOU else None

    def wanted(
        self, label: str, *, words: str | None = None, style: str | None = None
    ) -> Iterator[TrueThing]:
        """The things of a name, optionally in a scene or of a style."""
        for thing in self.things:
            if thing.label == label and thing.is_in(words) and style in (None, thing.style):
                yield thing


def write(folder: Path, seeds: Iterable[int], *, split: str = "search") -> World:
    """Pictures in folders by their surroundings; existing ones stay as they are."""
    world = World()
    for seed in seeds:
        scene = make_surrounded(seed, split=split)
        assert scene.surroundings is not None
        path = folder / f"{scene.surroundings.place}-{scene.surroundings.time}" / f"{seed}.jpg"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            Image.fromarray(scene.image).save(partial, "JPEG", quality=JPEG_QUALITY)
            partial.replace(path)
        world.add(path, scene)
    return world
