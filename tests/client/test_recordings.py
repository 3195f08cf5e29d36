"""The client converts sounds, grey pictures and motion into the server's form."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from fovea_client import ImageTooLarge, InvalidAudio, InvalidImage, InvalidTensor
from fovea_client.recordings import encode_sound, to_grey, to_motion
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from fovea import wav
from fovea.limits import Limits
from fovea.mel import RATE

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def png(pixels: np.ndarray | Image.Image) -> bytes:
    file = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, "PNG")
    return file.getvalue()


@given(st.sampled_from([np.uint8, np.uint16]).flatmap(lambda kind: arrays(kind, SHAPES)))
def test_integers_become_shares_of_their_types_largest_value(pixels):
    expected = pixels / np.iinfo(pixels.dtype).max
    for picture in (pixels, png(pixels), Image.fromarray(pixels)):
        grey = to_grey("depth", picture)
        assert grey.dtype == np.float32
        assert np.allclose(grey, expected, atol=1e-6)


@given(arrays(np.float64, SHAPES, elements=st.floats(-1e3, 1e3, width=32)))
def test_floats_stay_unchanged(values):
    assert np.array_equal(to_grey("thermal", values), values.astype(np.float32))
    assert np.array_equal(to_motion(values.tolist()), values.astype(np.float32))


def test_a_picture_may_be_a_path(tmp_path):
    path = tmp_path / "depth.png"
    path.write_bytes(png(np.full((2, 3), 65535, np.uint16)))
    assert np.array_equal(to_grey("depth", str(path)), np.ones((2, 3)))
    assert np.array_equal(to_grey("depth", path), np.ones((2, 3)))


@pytest.mark.parametrize(
    ("picture", "error", "words"),
    [
        (png(Image.new("RGB", (3, 2))), InvalidImage, "depth: expected a grey picture .* got RGB"),
        (Image.new("P", (3, 2)), InvalidImage, "got P"),
        (b"no picture", InvalidImage, "depth: expected a grey PNG"),
        (png(np.zeros((2, 2), np.uint8))[:40], InvalidImage, "expected a grey PNG"),
        (Path("/nowhere.png"), InvalidImage, "No such file"),
        (np.zeros((2, 2, 3)), InvalidTensor, r"rows of numbers, got \[2, 2, 3\]"),
        (np.zeros((0, 2)), InvalidTensor, "rows of numbers"),
        ([[1.0], [1.0, 2.0]], InvalidTensor, "all of one shape"),
        ([["a"]], InvalidTensor, "expected numbers"),
    ],
)
def test_other_pictures_are_refused_with_a_message(picture, error, words):
    with pytest.raises(error, match=words):
        to_grey("depth", picture)


def test_a_picture_of_too_many_pixels_is_not_decoded():
    edge = int(Limits().image_pixels ** 0.5) + 1
    header = png(Image.new("1", (edge, edge)).convert("L"))[:200]
    with pytest.raises(ImageTooLarge, match="depth: expected at most"):
        to_grey("depth", header)


def test_samples_become_a_file_and_files_stay_unchanged(tmp_path):
    samples = np.linspace(-1, 1, 500, dtype=np.float64)
    sent = encode_sound(samples)
    sound = wav.read(sent, Limits())
    assert sound.rate == RATE
    assert np.array_equal(sound.samples, samples[None].astype(np.float32))
    path = tmp_path / "sound.wav"
    path.write_bytes(sent)
    for same in (sent, bytearray(sent), memoryview(sent), path, str(path)):
        assert encode_sound(same) == sent


@pytest.mark.parametrize(
    ("sound", "words"),
    [
        (np.zeros(9, np.int16), r"expected floats .* got int16 \[9\]"),
        (np.zeros((1, 2, 3)), "expected floats"),
        (np.zeros(0), "expected floats"),
        ([0.0, 0.5], "a path, bytes or a numpy array, got list"),
        ("/nowhere.wav", "No such file"),
        ("nul\0", "expected a WAV file"),
    ],
)
def test_invalid_sounds_are_refused_with_a_message(sound, words):
    with pytest.raises(InvalidAudio, match=words):
        encode_sound(sound)


def test_motion_is_read_from_a_file(tmp_path):
    path = tmp_path / "imu.npy"
    np.save(path, np.ones((6, 4)))
    assert np.array_equal(to_motion(path), np.ones((6, 4)))


@pytest.mark.parametrize("content", [b"", b"1,2,3\n", b"\x93NUMPY\x01\x00"])
def test_a_file_without_numbers_is_refused(tmp_path, content):
    path = tmp_path / "imu.npy"
    path.write_bytes(content)
    with pytest.raises(InvalidTensor, match=r"imu: expected a .npy file of numbers"):
        to_motion(path)


def test_a_file_of_objects_is_not_unpickled(tmp_path):
    path = tmp_path / "imu.npy"
    np.save(path, np.array([[{}]]), allow_pickle=True)
    with pytest.raises(InvalidTensor, match="npy file of numbers"):
        to_motion(path)
