"""Kaldi's log mel filter banks, for 16,000 samples a second.

Formulas: Kaldi's `compute-fbank-feats` (feat/feature-fbank.cc, feat/mel-computations.cc), as in
torchaudio.compliance.kaldi.fbank with htk_compat, window_type="hanning" and dither=0.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
BANDS = 128
# Samples in 25 ms and in 10 ms, and the next power of two.
WINDOW, SHIFT, FFT = 400, 160, 512
PREEMPHASIS = 0.97
LOWEST_HZ = 20.0
FLOOR = float(np.finfo(np.float32).eps)


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [N], N at least WINDOW -> float32 [BANDS, 1 + (N - WINDOW) // SHIFT]."""
    windows = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), WINDOW)
    frames = windows[::SHIFT]
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    emphasised = (frames - PREEMPHASIS * before) * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(emphasised, FFT)) ** 2
    energies = np.maximum(power @ _filters(), FLOOR)
    found: NDArray[np.float32] = np.log(energies).T.astype(np.float32)
    return found


@lru_cache(1)
def _filters() -> NDArray[np.float64]:
    """Triangles between equal steps in mel, [FFT // 2 + 1, BANDS]; the last frequency has none."""
    lowest, highest = _mel(np.array([LOWEST_HZ, RATE / 2]))
    step = (highest - lowest) / (BANDS + 1)
    left = lowest + step * np.arange(BANDS)
    places = _mel(np.arange(FFT // 2) * RATE / FFT)[:, None]
    rising, falling = (places - left) / step, (left + 2 * step - places) / step
    return np.pad(np.maximum(0, np.minimum(rising, falling)), ((0, 1), (0, 0)))


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    mel: NDArray[np.float64] = 1127 * np.log(1 + hertz / 700)
    return mel
