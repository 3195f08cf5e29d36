"""Pictures in every form that callers may have."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from fovea_client import Client, InvalidImage
from fovea_client.images import encode, load
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from tests.client.fake_triton import FakeTriton

sides = st.integers(1, 24)
shapes = st.one_of(st.tuples(sides, sides), st.tuples(sides, sides, st.just(3)))


@settings(max_examples=50)
@given(hnp.arrays(np.uint8, shapes))
def test_pixels_travel_without_loss(pixels: np.ndarray) -> None:
    decoded = Image.open(io.BytesIO(encode(pixels)))
    assert decoded.format == "PNG"
    assert np.array_equal(np.asarray(decoded), pixels)


def test_files_and_bytes_travel_as_they_are(png: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png)
    for picture in (png, bytearray(png), memoryview(png), path, str(path)):
        assert encode(picture, jpeg_quality=50) == png


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA", "CMYK", "YCbCr", "HSV"])
def test_pil_images_of_any_mode_travel(mode: str) -> None:
    image = Image.new("RGB", (5, 4), (200, 100, 50)).convert(mode)
    decoded = Image.open(io.BytesIO(encode(image))).convert("RGB")
    assert np.array_equal(np.asarray(decoded), np.asarray(image.convert("RGB")))


def test_jpeg_is_smaller_when_asked_for(triton: FakeTriton) -> None:
    smooth = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    photo = np.stack([smooth, smooth.T, smooth], axis=2)
    with Client(triton.url, jpeg_quality=90) as client:
        client.embed_image(photo)
    sent = triton.calls[0].inputs["IMAGE"][0, 0]
    assert Image.open(io.BytesIO(sent)).format == "JPEG"


@pytest.mark.parametrize(
    "picture",
    [
        b"",
        "no/such/file.png",
        "nul\0.png",
        Path("."),
        None,
        7,
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        Image.new("RGB", (0, 4)),
    ],
    ids=lambda picture: repr(picture)[:30],
)
def test_a_value_that_is_not_a_picture_is_refused(picture) -> None:
    with pytest.raises(InvalidImage, match="expected"):
        encode(picture)


def test_an_empty_file_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(InvalidImage, match="empty"):
        encode(tmp_path / "a.png")


def test_slices_and_other_strides_travel(pixels: np.ndarray) -> None:
    flipped = pixels[::-1, ::2]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode(flipped)))), flipped)


def test_the_frame_of_a_file_is_upright_and_that_of_pixels_is_theirs(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert load(tmp_path / "a.jpg").size == (4, 8)
    opened = Image.open(tmp_path / "a.jpg")
    assert load(opened).size == (8, 4)
    assert load(encode(opened)).size == (8, 4)
