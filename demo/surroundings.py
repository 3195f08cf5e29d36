"""Where and when a scene is: places by day and by night, painted behind its things.

A place has its own form (a horizon, houses, a window); its surfaces are drawn from a split's kinds
of backgrounds, so held-out splits have surfaces that are not in training.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np

from demo.backgrounds import GRID, Painter

Rng = np.random.Generator

# The pattern's share of a surface; the rest is the place's own colour.
PATTERN = 0.2
# Light on the background and on things at night, as if by a flash, and its colour (RGB).
DIMMED, DIMMED_THINGS = (0.35, 0.5), (0.9, 1.0)
# The background is out of focus: the standard deviation of its blur, in cells of the canvas.
BLUR = 1.2
MOONLIGHT = np.array([0.85, 0.92, 1.1], np.float32)
SKY, NIGHT_SKY, HAZE = (120, 180, 235), (40, 50, 95), (215, 230, 240)
LIT = (255, 225, 130)

DAY, NIGHT = "day", "night"
# Names of times and places; searches use the first.
TIME_WORDS: dict[str, tuple[str, ...]] = {
    DAY: ("by day", "in the sun", "in the morning"),
    NIGHT: ("at night", "in the night", "night"),
}
PLACE_WORDS: dict[str, tuple[str, ...]] = {
    "room": ("in a room", "in the room", "indoors"),
    "street": ("on the street", "on a road", "street"),
    "beach": ("on the beach", "at the beach", "beach"),
    "snow": ("in the snow", "on snow", "snow"),
}


@dataclass(frozen=True)
class Surroundings:
    """When a scene is, from TIME_WORDS, and where, from PLACE_WORDS."""

    time: str
    place: str

    @property
    def words(self) -> tuple[str, str]:
        """The words of searches for its time and its place."""
        return TIME_WORDS[self.time][0], PLACE_WORDS[self.place][0]

    def paint(
        self, rng: Rng, kinds: Sequence[Painter], height: int, width: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The background, float32 (height, width, 3) in 0..255, and the light on things (3,)."""
        canvas = _Canvas(rng, kinds, night=self.time == NIGHT)
        _PLACES[self.place](canvas)
        blurred = cv2.GaussianBlur(canvas.lit(), (0, 0), BLUR)
        picture = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR)
        return picture, canvas.light_on_things


ALL: tuple[Surroundings, ...] = tuple(
    Surroundings(time, place) for time, place in product(TIME_WORDS, PLACE_WORDS)
)


class _Canvas:
    """A coarse picture of GRID by GRID; rows and columns are shares of it, from 0 to 1."""

    def __init__(self, rng: Rng, kinds: Sequence[Painter], *, night: bool) -> None:
        self.rng, self.kinds, self.night = rng, kinds, night
        self.pixels = np.zeros((GRID, GRID, 3), np.float32)
        self.lights = np.zeros((GRID, GRID, 3), np.float32)
        moonlight = MOONLIGHT if night else np.ones(3, np.float32)
        self.light = moonlight * (rng.uniform(*DIMMED) if night else 1.0)
        self.light_on_things = moonlight * (rng.uniform(*DIMMED_THINGS) if night else 1.0)

    def lit(self) -> np.ndarray:
        """The pixels in the light of the time, with lamps on top."""
        shines = self.lights.any(axis=2, keepdims=True)
        return np.where(shines, self.lights, self.pixels * self.light)

    def fill(self, top: float, bottom: float, colour: Sequence[float], left: float = 0,
             right: float = 1, pattern: float = PATTERN) -> None:  # fmt: skip
        """Paint a surface around a colour (RGB), with a pattern of one of the kinds."""
        surface = self.kinds[self.rng.integers(len(self.kinds))](self.rng, GRID, GRID)
        surface = surface - surface.mean(axis=(0, 1))
        own = np.asarray(colour, np.float32) + self.rng.normal(0, 10, 3).astype(np.float32)
        part = self._part(top, bottom, left, right)
        self.pixels[part] = (own + pattern * surface[part]).clip(0, 255)

    def shine(self, top: float, bottom: float, left: float, right: float) -> None:
        """Add a lamp or a lit window."""
        self.lights[self._part(top, bottom, left, right)] = LIT

    def sky(self, bottom: float) -> None:
        """Blue, hazy towards the horizon; with stars and a moon at night."""
        ramp = np.linspace(0, 1, GRID, dtype=np.float32)[:, None, None]
        high = np.array(NIGHT_SKY if self.night else SKY, np.float32)
        part = self._part(0, bottom, 0, 1)
        blue = high + 0.6 * ramp * (np.array(HAZE, np.float32) - high)
        self.pixels[part] = np.broadcast_to(blue, self.pixels.shape)[part]
        if self.night:
            rows = (self.rng.random(12) * bottom * GRID).astype(int)
            self.lights[rows, self.rng.integers(0, GRID, 12)] = 235
            centre = self.rng.integers(4, GRID - 4), int(GRID * bottom * self.rng.uniform(0.1, 0.5))
            cv2.circle(self.lights, [int(v) for v in centre], 3, (240, 240, 215), -1)

    @staticmethod
    def _part(top: float, bottom: float, left: float, right: float) -> tuple[slice, slice]:
        rows = slice(int(top * GRID), max(int(top * GRID) + 1, int(bottom * GRID)))
        columns = slice(int(left * GRID), max(int(left * GRID) + 1, int(right * GRID)))
        return rows, columns


def _room(canvas: _Canvas) -> None:
    """A wall with a window, and a wooden floor."""
    rng = canvas.rng
    floor = rng.uniform(0.62, 0.8)
    canvas.fill(0, floor, rng.choice([(215, 200, 170), (190, 205, 180), (220, 185, 180)]))
    canvas.fill(floor, 1, (140, 95, 60))
    canvas.fill(floor - 0.03, floor, (245, 240, 230), pattern=0)
    left, top = rng.uniform(0.05, 0.65), rng.uniform(0.04, 0.2)
    canvas.fill(top, top + 0.3, (245, 240, 230), left, left + 0.28, pattern=0)
    seen = NIGHT_SKY if canvas.night else SKY
    canvas.fill(top + 0.03, top + 0.27, seen, left + 0.03, left + 0.25, pattern=0)
    if canvas.night:
        lamp = (left + 0.45) % 0.9
        canvas.shine(0, 0.08, lamp, lamp + 0.08)


def _street(canvas: _Canvas) -> None:
    """Houses in a row, and a road with its middle line."""
    rng = canvas.rng
    ground = rng.uniform(0.5, 0.65)
    canvas.sky(ground)
    edges = np.cumsum([0.0, *rng.uniform(0.15, 0.3, 7)])
    for left, right in zip(edges[edges < 1], edges[1:], strict=False):
        top = rng.uniform(0.08, 0.35)
        colour = rng.choice([(170, 105, 85), (160, 155, 150), (195, 170, 130), (120, 110, 115)])
        canvas.fill(top, ground, colour, left, min(right, 1.0))
        for row, column in product(np.arange(top + 0.05, ground - 0.07, 0.11), (0.03, 0.1)):
            if left + column + 0.04 < min(right, 1.0):
                _house_window(canvas, row, left + column)
    canvas.fill(ground, 1, (95, 95, 100))
    for left in np.arange(rng.uniform(0, 0.1), 1, 0.2):
        canvas.fill(0.82, 0.85, (235, 235, 225), left, left + 0.1, pattern=0)


def _house_window(canvas: _Canvas, top: float, left: float) -> None:
    if canvas.night and canvas.rng.random() < 0.5:
        canvas.shine(top, top + 0.05, left, left + 0.04)
    else:
        canvas.fill(top, top + 0.05, (70, 90, 115), left, left + 0.04, pattern=0)


def _beach(canvas: _Canvas) -> None:
    """The sea below the sky, and sand."""
    horizon, shore = canvas.rng.uniform(0.25, 0.4), canvas.rng.uniform(0.48, 0.65)
    canvas.sky(horizon)
    canvas.fill(horizon, shore, (40, 125, 165))
    canvas.fill(shore - 0.03, shore, (230, 240, 240), pattern=0)
    canvas.fill(shore, 1, (230, 205, 145))


def _snow(canvas: _Canvas) -> None:
    """White hills."""
    rng = canvas.rng
    y, x = np.mgrid[0:GRID, 0:GRID].astype(np.float32) / GRID
    canvas.sky(1)
    for step in range(2):
        crest = 0.4 + 0.22 * step + 0.06 * np.sin(x * rng.uniform(4, 12) + rng.uniform(0, 6))
        hill, kept = y > crest, canvas.pixels.copy()
        canvas.fill(0, 1, (250 - 8 * step, 250 - 6 * step, 252 - 3 * step), pattern=PATTERN / 2)
        canvas.pixels = np.where(hill[..., None], canvas.pixels, kept)
        canvas.lights[hill] = 0


_PLACES: dict[str, Callable[[_Canvas], None]] = {
    "room": _room,
    "street": _street,
    "beach": _beach,
    "snow": _snow,
}
