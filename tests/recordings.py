"""Sounds, grey pictures and motion that tests and references share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fovea.families.imagebind import GREY_HW
from fovea.families.imagebind import MOTION as MOTION_SHAPE
from fovea.mel import RATE

Floats = NDArray[np.float32]


def chirp(seconds: float, from_hz: float, to_hz: float) -> Floats:
    """Samples [N], RATE a second: a tone that rises or falls over a hum, growing louder."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * (from_hz * time + (to_hz - from_hz) * time**2 / (2 * seconds))
    noise = np.random.default_rng(7).normal(0, 0.01, len(time))
    sound = 0.6 * time / seconds * np.sin(phase) + 0.1 * np.sin(2 * np.pi * 50 * time) + noise
    return sound.astype(np.float32)


# Longer than three clips, shorter than one, and little more than a frame.
SOUNDS = (chirp(7.3, 200, 5000), chirp(1.2, 3000, 400), chirp(0.03, 800, 900))


def waves(shape: tuple[int, ...], seed: int) -> Floats:
    """float32 within [0, 1]: slow waves along the last two axes, others along the first."""
    places = np.meshgrid(*(np.linspace(0, 1, edge) for edge in shape), indexing="ij")
    rates = np.random.default_rng(seed).uniform(1, 12, len(shape))
    phases = sum(rate * place for rate, place in zip(rates, places, strict=True))
    return (0.5 + 0.5 * np.sin(2 * np.pi * phases)).astype(np.float32)


GREY = np.stack([waves(GREY_HW, seed) for seed in range(3)])
MOTION = np.stack([waves(MOTION_SHAPE, seed) for seed in range(3)])
