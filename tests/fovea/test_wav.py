"""WAV files are read as they were written, whatever their format, or refused with a message."""

import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fovea import wav
from fovea.errors import InvalidAudio
from fovea.limits import Limits

RATE = 16_000
SAMPLES = arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(0, 50)),
    elements=st.floats(-1, 1, width=32),
)


def written(samples: np.ndarray, width: int) -> bytes:
    """A file by the standard library: PCM of `width` bytes, from [channels, N] within [-1, 1)."""
    whole = np.round(samples.T.astype(np.float64) * 2 ** (8 * width - 1)).astype(np.int64)
    frames = (whole + 128).astype(np.uint8) if width == 1 else whole
    data = b"".join(
        int(value).to_bytes(width, "little", signed=width > 1) for value in frames.ravel()
    )
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(len(samples))
        out.setsampwidth(width)
        out.setframerate(RATE)
        out.writeframes(data)
    return file.getvalue()


@given(SAMPLES)
def test_floats_come_back_as_they_were(samples):
    sound = wav.read(wav.write(samples, RATE), Limits())
    assert sound.rate == RATE
    assert np.array_equal(sound.samples, samples)


@given(SAMPLES, st.integers(1, 4))
def test_integers_of_every_width_are_scaled_to_1(samples, width):
    quiet = samples * np.float32(0.99)
    sound = wav.read(written(quiet, width), Limits())
    assert np.allclose(sound.samples, quiet, atol=2.0 ** (1 - 8 * width) + 1e-6)


def test_one_channel_may_lack_the_first_axis():
    assert wav.read(wav.write(np.zeros(3, np.float32), RATE), Limits()).samples.shape == (1, 3)


def test_a_stream_without_a_length_ends_with_the_file():
    data = wav.write(np.ones(5, np.float32), RATE)
    place = data.index(b"data") + 4
    endless = data[:place] + b"\xff" * 4 + data[place + 4 :]
    assert wav.read(endless, Limits()).samples.shape == (1, 5)


def test_an_extensible_format_and_other_chunks_are_read():
    data = written(np.array([[0.5, -0.25]]), 2)
    form = data[20:36]
    more = struct.pack("<H", 0xFFFE) + form[2:] + struct.pack("<HHIH14s", 22, 16, 0, 1, b"")
    chunks = (b"LIST" + struct.pack("<I", 3) + b"abc\0", b"fmt " + struct.pack("<I", 40) + more)
    longer = data[:12] + b"".join(chunks) + data[36:]
    assert wav.read(longer, Limits()).samples.tolist() == [[0.5, -0.25]]


GOOD = wav.write(np.zeros(4, np.float32), RATE)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "expected a WAV file, got 0 bytes"),
        (b"ID3 an mp3", "begin with b'ID3"),
        (GOOD[:12], "a format and data"),
        (GOOD.replace(b"data", b"dada"), "a format and data"),
        (GOOD[:20] + b"\x55" + GOOD[21:], "got format 85 of 32 bits"),
        (GOOD[:34] + b"\x0c" + GOOD[35:], "12 bits"),
        (GOOD[:22] + b"\0\0" + GOOD[24:], "0 channels"),
        (wav.write(np.array([0, np.nan], np.float32), RATE), "finite samples"),
    ],
)
def test_invalid_sounds_are_refused_with_a_message(data, expected):
    with pytest.raises(InvalidAudio, match=expected):
        wav.read(data, Limits())


def test_a_file_that_is_too_large_is_refused():
    with pytest.raises(InvalidAudio, match="at most 10 bytes"):
        wav.read(GOOD, Limits(image_bytes=10))


@given(st.binary(max_size=80), st.integers(0, 60))
def test_arbitrary_bytes_are_only_refused(noise, place):
    for data in (noise, GOOD[:place] + noise + GOOD[place + len(noise) :]):
        try:
            wav.read(data, Limits())
        except InvalidAudio:
            continue
