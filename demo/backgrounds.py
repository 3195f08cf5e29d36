"""Painted backgrounds; training never sees the kinds of the held-out splits."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np

Rng = np.random.Generator
Painter = Callable[[Rng, int, int], np.ndarray]
GRID = 64
GRAIN_BANK = 512


def _palette(rng: Rng, count: int) -> np.ndarray:
    """`count` colours, float32 (count, 3) in 0..255, around one random base."""
    base = rng.uniform(30, 225, 3)
    return (base + rng.normal(0, 45, (count, 3))).clip(0, 255).astype(np.float32)


def _grow(small: np.ndarray, height: int, width: int, how: int = cv2.INTER_CUBIC) -> np.ndarray:
    return cv2.resize(small, (width, height), interpolation=how)


def _gradient(rng: Rng, height: int, width: int) -> np.ndarray:
    return _grow(_palette(rng, 4).reshape(2, 2, 3), height, width, cv2.INTER_LINEAR)


def _clouds(rng: Rng, height: int, width: int) -> np.ndarray:
    rows, columns = rng.integers(3, 9, 2)
    return _grow(_palette(rng, rows * columns).reshape(rows, columns, 3), height, width)


def _coordinates(rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Rotated unit coordinates on the coarse grid, float32 (GRID, GRID) each."""
    y, x = np.mgrid[0:GRID, 0:GRID].astype(np.float32) / GRID
    angle = rng.uniform(0, np.pi)
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def _stripes(rng: Rng, height: int, width: int) -> np.ndarray:
    u, _ = _coordinates(rng)
    blend = (np.sin(u * rng.uniform(10, 45)) * rng.uniform(1, 3) / 2 + 0.5).clip(0, 1)
    a, b = _palette(rng, 2)
    return _grow(a + blend[..., None] * (b - a), height, width)


def _landscape(rng: Rng, height: int, width: int) -> np.ndarray:
    sky, haze, near, far = _palette(rng, 4)
    horizon = int(GRID * rng.uniform(0.35, 0.75))
    ramp = np.linspace(0, 1, GRID, dtype=np.float32)[:, None, None]
    picture = sky + ramp * (haze - sky)
    picture[horizon:] = far + ramp[horizon:] * (near - far)
    return _grow(np.repeat(picture, 4, axis=1), height, width, cv2.INTER_LINEAR)


def _patches(rng: Rng, height: int, width: int) -> np.ndarray:
    picture = np.ascontiguousarray(_clouds(rng, GRID, GRID))
    for colour in _palette(rng, int(rng.integers(3, 10))) + rng.normal(0, 30, 3):
        centre = rng.integers(0, GRID, 2)
        if rng.random() < 0.5:
            radii = rng.integers(3, 16, 2)
            angle = float(rng.uniform(0, 180))
            cv2.ellipse(
                picture, centre.tolist(), radii.tolist(), angle, 0, 360, colour.tolist(), -1
            )
        else:
            corners = centre + rng.integers(-16, 17, (4, 2))
            cv2.fillConvexPoly(picture, cv2.convexHull(corners.astype(np.int32)), colour.tolist())
    return _grow(picture, height, width, cv2.INTER_LINEAR)


def _rings(rng: Rng, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[0:GRID, 0:GRID].astype(np.float32) / GRID
    cx, cy = rng.uniform(-0.2, 1.2, 2)
    blend = np.sin(np.hypot(x - cx, y - cy) * rng.uniform(8, 40)) / 2 + 0.5
    a, b = _palette(rng, 2)
    return _grow((a + blend[..., None] * (b - a)).astype(np.float32), height, width)


def _checker(rng: Rng, height: int, width: int) -> np.ndarray:
    u, v = _coordinates(rng)
    cells = (np.floor(u * rng.uniform(3, 9)) + np.floor(v * rng.uniform(3, 9))) % 2
    a, b = _palette(rng, 2)
    return _grow((a + cells[..., None] * (b - a)).astype(np.float32), height, width)


def _hills(rng: Rng, height: int, width: int) -> np.ndarray:
    colours = _palette(rng, 5)
    y, x = np.mgrid[0:GRID, 0:GRID].astype(np.float32) / GRID
    picture = np.broadcast_to(colours[0], (GRID, GRID, 3)).copy()
    for step, colour in enumerate(colours[1:]):
        crest = 0.3 + 0.16 * step + 0.06 * np.sin(x * rng.uniform(4, 14) + rng.uniform(0, 6))
        picture[y > crest] = colour
    return _grow(picture, height, width, cv2.INTER_LINEAR)


TRAINING_KINDS: tuple[Painter, ...] = (_gradient, _clouds, _stripes, _landscape, _patches)
HELD_OUT_KINDS: tuple[Painter, ...] = (_rings, _checker, _hills)


@cache
def _grain() -> np.ndarray:
    """One fixed field of unit noise, float32; every scene takes a window of it."""
    return np.random.default_rng(0).normal(0, 1, (GRAIN_BANK, GRAIN_BANK, 1)).astype(np.float32)


def paint(rng: Rng, kinds: tuple[Painter, ...], height: int, width: int) -> np.ndarray:
    """Paint one background with a little grain, float32 (height, width, 3) in 0..255."""
    picture = kinds[rng.integers(len(kinds))](rng, height, width).astype(np.float32)
    y, x = rng.integers(0, GRAIN_BANK - np.minimum((height, width), GRAIN_BANK - 1))
    window = _grain()[y : y + height, x : x + width]
    picture += rng.uniform(0, 9) * window[: picture.shape[0], : picture.shape[1]]
    return picture
