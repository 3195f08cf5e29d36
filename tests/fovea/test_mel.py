"""The log mel filter banks are Kaldi's: transformers computes the same without torchaudio."""

import numpy as np
import pytest
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from fovea.mel import BANDS, FFT, FLOOR, LOWEST_HZ, PREEMPHASIS, RATE, SHIFT, WINDOW, log_mel
from tests.recordings import SOUNDS


def theirs(samples):
    filters = mel_filter_bank(
        num_frequency_bins=FFT // 2 + 1,
        num_mel_filters=BANDS,
        min_frequency=LOWEST_HZ,
        max_frequency=RATE // 2,
        sampling_rate=RATE,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    return spectrogram(
        samples,
        window_function(WINDOW, "hann", periodic=False),
        frame_length=WINDOW,
        hop_length=SHIFT,
        fft_length=FFT,
        power=2.0,
        center=False,
        preemphasis=PREEMPHASIS,
        mel_filters=filters,
        log_mel="log",
        mel_floor=FLOOR,
        remove_dc_offset=True,
    )


@pytest.mark.filterwarnings("ignore:At least one mel filter")
@pytest.mark.parametrize("sound", SOUNDS, ids=len)
def test_the_filter_banks_are_those_of_transformers(sound):
    ours = log_mel(sound)
    assert ours.dtype == np.float32
    assert ours.shape == (BANDS, 1 + (len(sound) - WINDOW) // SHIFT)
    assert np.allclose(ours, theirs(sound), atol=1e-4)


def test_silence_gives_the_floor():
    assert np.array_equal(
        log_mel(np.zeros(WINDOW, np.float32)), np.full((BANDS, 1), np.log(FLOOR), np.float32)
    )
