"""Scenes composed from sprites, with exact labels, boxes and visible masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from zlib import crc32

import cv2
import numpy as np

from demo.art import TRAINED_STYLES, fill, mips
from demo.backgrounds import HELD_OUT_KINDS, TRAINING_KINDS, Painter, paint
from demo.surroundings import ALL as SURROUNDINGS
from demo.surroundings import Surroundings
from demo.things import LABELS

Rng = np.random.Generator

SPLITS: dict[str, tuple[Painter, ...]] = {
    "train": TRAINING_KINDS,
    "validation": TRAINING_KINDS,
    "test": HELD_OUT_KINDS,
    "sample": HELD_OUT_KINDS,
    "search": HELD_OUT_KINDS,
    "search validation": HELD_OUT_KINDS,
}
DEFAULT_LONGEST_EDGE = 320
ASPECTS_WH: tuple[tuple[int, int], ...] = ((4, 3), (3, 4), (1, 1))
OBJECT_COUNT_ODDS: tuple[float, ...] = (0.35, 0.3, 0.2, 0.1, 0.05)
MAIN_AREA_RATIO = 1.75
MIN_VISIBLE = 0.75
# Root of the opaque area, and longest side, relative to the short side of the picture.
MAIN_ROOT_AREA = (0.40, 0.56)
OTHER_ROOT_AREA = (0.26, 0.38)
OTHER_TO_MAIN = 0.72
LONGEST_SIDE = (0.28, 0.76)
MAX_ROTATION_DEG = 20.0
PLACEMENT_TRIES = 8
MAN_ON_SNOWBOARD_TEXT = "The man skiing on his new snowboard!"


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One thing in a scene.

    Attributes:
        label: canonical name of the thing.
        style: the art it was drawn in.
        box_xyxy: tight box of the visible mask, pixels of the scene, x2 and y2 exclusive.
        mask: bool (height, width), the visible pixels.
    """

    label: str
    style: str
    box_xyxy: tuple[float, float, float, float]
    mask: np.ndarray

    @property
    def area(self) -> int:
        """Visible pixels."""
        return int(self.mask.sum())


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture with its truth.

    Attributes:
        image: uint8 (height, width, 3), RGB.
        objects: back to front.
        main_index: which object is the main one (the largest visible area).
        surroundings: where and when it is; None in front of a plain background.
    """

    image: np.ndarray
    objects: tuple[SceneObject, ...]
    main_index: int
    surroundings: Surroundings | None = None

    @property
    def main(self) -> SceneObject:
        """The object with the largest visible area."""
        return self.objects[self.main_index]

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of all objects, back to front."""
        return tuple(item.label for item in self.objects)


@dataclass(frozen=True, eq=False)
class _Sprite:
    """A warped sprite: premultiplied uint8 (h, w, 4), its top left corner, its opaque pixels."""

    rgba: np.ndarray
    x: int
    y: int
    full_area: int

    def window(self, height: int, width: int) -> tuple[slice, slice, np.ndarray]:
        """The rows and columns that it covers, and the part of it inside the picture."""
        h, w = self.rgba.shape[:2]
        top, left = max(0, -self.y), max(0, -self.x)
        bottom, right = min(h, height - self.y), min(w, width - self.x)
        rows = slice(self.y + top, self.y + bottom)
        columns = slice(self.x + left, self.x + right)
        return rows, columns, self.rgba[top:bottom, left:right]


def scene_rng(seed: int, split: str, attempt: int = 0) -> Rng:
    """The random stream of one scene; streams of different splits never meet."""
    return np.random.default_rng([crc32(split.encode()), seed, attempt])


def size_of_aspect(aspect_wh: tuple[int, int], longest: float) -> tuple[int, int]:
    """Height and width of a picture of this aspect."""
    w, h = aspect_wh
    return round(longest * h / max(w, h)), round(longest * w / max(w, h))


def _warp(rng: Rng, style: str, label: str, side: float) -> tuple[np.ndarray, int]:
    """Turn, flip, tint and scale a sprite to a longer side of `side` pixels."""
    levels = mips(style, label)
    level = next((m for m in reversed(levels) if max(m.shape[:2]) >= side), levels[0])
    scale = side / max(level.shape[:2])
    angle = np.deg2rad(rng.uniform(-MAX_ROTATION_DEG, MAX_ROTATION_DEG))
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    h, w = level.shape[:2]
    out_w, out_h = int(abs(c) * w + abs(s) * h) + 3, int(abs(s) * w + abs(c) * h) + 3
    shift_x, shift_y = rng.random(2)
    matrix = np.array([[c * flip, -s, 0], [s * flip, c, 0]], np.float64)
    centre = matrix[:, :2] @ ((w - 1) / 2, (h - 1) / 2)
    matrix[:, 2] = ((out_w - 2 + shift_x) / 2 - centre[0], (out_h - 2 + shift_y) / 2 - centre[1])
    rgba = cv2.warpAffine(level, matrix, (out_w, out_h), flags=cv2.INTER_LINEAR)
    tinted = cv2.multiply(rgba, (*rng.uniform(0.85, 1.1, 3), 1.0))
    alpha = rgba[..., 3]
    rgba = cv2.min(tinted, cv2.merge((alpha, alpha, alpha, alpha)))
    return rgba, int(np.count_nonzero(alpha > 127))


def _sides(rng: Rng, picks: list[tuple[str, str]], short: int) -> list[float]:
    """Longer side of every sprite in pixels; the first is the main object."""
    roots = [rng.uniform(*MAIN_ROOT_AREA)]
    for _ in picks[1:]:
        roots.append(min(rng.uniform(*OTHER_ROOT_AREA), roots[0] * OTHER_TO_MAIN))
    low, high = LONGEST_SIDE
    sides = [float(np.clip(r / fill(*p), low, high)) for r, p in zip(roots, picks, strict=True)]
    return [side * short for side in sides]


def _position(rng: Rng, rgba: np.ndarray, height: int, width: int, *, central: bool) -> np.ndarray:
    """Top left corner (x, y): the main object inside the central square, others up to 8 % out."""
    size = np.array([rgba.shape[1], rgba.shape[0]])
    frame = np.array([width, height])
    inset = (frame - min(height, width)) // 2 if central else 0
    slack = 0.0 if central else 0.08
    low = inset - slack * size
    high = np.maximum(frame - inset - size + slack * size, low)
    return rng.uniform(low, high).round().astype(int)


def _place(rng: Rng, owner: np.ndarray, placed: list[_Sprite], seen: list[int],
           warped: tuple[np.ndarray, int], central: bool) -> bool:  # fmt: skip
    """Find a place that leaves all sprites visible enough; paint it into `owner`.

    `placed` and `seen` (their visible pixels) grow by one if a place was found.
    """
    rgba, area = warped
    height, width = owner.shape
    for _ in range(PLACEMENT_TRIES):
        x, y = _position(rng, rgba, height, width, central=central)
        sprite = _Sprite(rgba, int(x), int(y), area)
        rows, columns, part = sprite.window(height, width)
        opaque = part[..., 3] > 127
        if np.count_nonzero(opaque) < MIN_VISIBLE * area:
            continue
        covered = owner[rows, columns][opaque]
        lost = [np.count_nonzero(covered == i + 1) for i in range(len(placed))]
        if all(
            s - n >= MIN_VISIBLE * p.full_area for s, n, p in zip(seen, lost, placed, strict=True)
        ):
            placed.append(sprite)
            seen[:] = [s - n for s, n in zip(seen, lost, strict=True)] + [len(covered)]
            owner[rows, columns][opaque] = len(placed)
            return True
    return False


def _compose(
    picture: np.ndarray, placed: list[_Sprite], light: np.ndarray | None = None
) -> np.ndarray:
    """Lay the sprites over the background, back to front; uint8 (height, width, 3).

    light: on the sprites, a factor for each of RGB.
    """
    picture = picture.clip(0, 255).astype(np.uint8)
    for sprite in placed:
        rows, columns, part = sprite.window(*picture.shape[:2])
        if light is not None:
            part = cv2.multiply(np.ascontiguousarray(part), (*light.tolist(), 1.0))
        see_through = cv2.cvtColor(255 - part[..., 3], cv2.COLOR_GRAY2RGB)
        below = cv2.multiply(picture[rows, columns], see_through, scale=1 / 255)
        picture[rows, columns] = cv2.add(below, np.ascontiguousarray(part[..., :3]))
    return picture


def box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    """Tight xyxy box of a bool mask, x2 and y2 exclusive."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def _attempt(rng: Rng, split: str, size_hw: tuple[int, int], count: int,
             styles: tuple[str, ...], labels: tuple[str, ...] | None,
             surroundings: Surroundings | None) -> Scene | None:  # fmt: skip
    """One try at a scene; None if it breaks a guarantee."""
    names = labels or tuple(LABELS[i] for i in rng.choice(len(LABELS), count, replace=False))
    picks = [(styles[rng.integers(len(styles))], name) for name in names]
    sides = _sides(rng, picks, min(size_hw))
    owner = np.zeros(size_hw, np.uint8)
    placed: list[_Sprite] = []
    seen: list[int] = []
    order = rng.permutation(count)
    for index in order:
        warped = _warp(rng, *picks[index], sides[index])
        if not _place(rng, owner, placed, seen, warped, central=index == 0):
            return None
    masks = [owner == i + 1 for i in range(count)]
    areas = np.array(seen)
    main = int(np.flatnonzero(order == 0)[0])
    if count > 1 and areas[main] < MAIN_AREA_RATIO * np.delete(areas, main).max():
        return None
    light = None
    if surroundings is None:
        background = paint(rng, SPLITS[split], *size_hw)
    else:
        background, light = surroundings.paint(rng, SPLITS[split], *size_hw)
    image = _compose(background, placed, light)
    objects = tuple(
        SceneObject(picks[i][1], picks[i][0], box_of(mask), mask)
        for i, mask in zip(order, masks, strict=True)
    )
    return Scene(image, objects, main, surroundings)


def make_scene(
    seed: int,
    *,
    split: str = "train",
    size: int = DEFAULT_LONGEST_EDGE,
    shortest: int | None = None,
    n_objects: int | None = None,
    styles: tuple[str, ...] = TRAINED_STYLES,
    labels: tuple[str, ...] | None = None,
    surroundings: Surroundings | None = None,
) -> Scene:
    """Compose one scene; the same arguments give the same pixels.

    Args:
        seed: which scene of the split.
        split: 'train', 'validation', 'test' or 'sample'; the last two have kinds of background that
            are not in training.
        size: longest edge in pixels; the aspect (4:3, 3:4, 1:1) is drawn.
        shortest: shortest edge in pixels, instead of `size`.
        n_objects: 1 to 5; random if None.
        styles: art styles to draw from.
        labels: the things themselves, the main one first; random if None.
        surroundings: where and when it is; a plain background if None.
    """
    for attempt in range(1000):
        rng = scene_rng(seed, split, attempt)
        aspect = ASPECTS_WH[rng.integers(len(ASPECTS_WH))]
        drawn = int(rng.choice(len(OBJECT_COUNT_ODDS), p=OBJECT_COUNT_ODDS)) + 1
        count = len(labels) if labels else n_objects or drawn
        longest = size if shortest is None else shortest * max(aspect) / min(aspect)
        size_hw = size_of_aspect(aspect, longest)
        scene = _attempt(rng, split, size_hw, count, styles, labels, surroundings)
        if scene is not None:
            return scene
    raise ValueError(f"no scene of {count} objects found for seed {seed}")


def make_surrounded(seed: int, *, split: str = "train", **options: Any) -> Scene:
    """`make_scene` in random surroundings.

    options: of `make_scene`.
    """
    drawn = scene_rng(seed, f"{split} surroundings").integers(len(SURROUNDINGS))
    return make_scene(seed, split=split, surroundings=SURROUNDINGS[drawn], **options)


def man_on_snowboard(seed: int = 30, *, size: int = DEFAULT_LONGEST_EDGE) -> Scene:
    """A scene of a man and a snowboarder, for `MAN_ON_SNOWBOARD_TEXT`; the man is the main one."""
    return make_scene(seed, split="sample", size=size, labels=("man", "snowboarder"))
