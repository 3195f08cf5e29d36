import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from fovea import images
from fovea.errors import ImageTooLarge, InvalidImage
from fovea.limits import Limits

LIMITS = Limits()


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def gradient(height: int, width: int) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows * 255 // height, columns * 255 // width, rows * 0 + 90], axis=2)
    return Image.fromarray(pixels.astype(np.uint8))


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


@pytest.mark.parametrize("kind", images.FORMATS)
def test_each_format_decodes(kind):
    image = images.decode_image(encoded(gradient(40, 60), kind), LIMITS)
    assert (image.mode, image.size) == ("RGB", (60, 40))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK", "I;16"])
def test_each_mode_becomes_rgb(mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    picture = gradient(20, 30).convert(mode if mode != "I;16" else "L")
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
    decoded = images.decode_image(encoded(picture, kind), LIMITS)
    assert decoded.mode == "RGB"
    if mode == "I;16":
        assert np.asarray(decoded)[..., 0].max() > 100


@given(
    size_hw=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    scale=st.floats(0.01, 1.5),
    orientation=st.sampled_from([None, 1, 3, 6, 8]),
)
@example(size_hw=(1, 1), scale=1.5, orientation=None)
@settings(deadline=None, max_examples=60)
def test_a_jpeg_is_decoded_at_the_smallest_fraction_that_is_enough(size_hw, scale, orientation):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    data = encoded(gradient(*size_hw), "JPEG", exif=exif)
    asked = []
    picture = images.decode_picture(data, LIMITS, lambda hw: asked.append(hw) or scale)
    whole = images.decode_image(data, LIMITS)
    assert asked == [picture.hw] == [(whole.height, whole.width)]
    sent, got = np.array(picture.hw), np.array(picture.decoded_hw)
    fraction = next(f for f in (8, 4, 2, 1) if (got == -(-sent // f)).all())
    assert (got == sent).all() or (got >= scale * sent).all()
    assert fraction == 8 or (-(-sent // (2 * fraction)) < scale * sent + 1).any()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_other_formats_are_decoded_whole(kind):
    picture = images.decode_picture(encoded(gradient(40, 60), kind), LIMITS, lambda hw: 0.1)
    assert picture.decoded_hw == (40, 60)
    assert picture.hw == (40, 60)


def test_what_is_decoded_smaller_is_nearly_the_same_after_the_resize():
    photograph = np.asarray(gradient(600, 800)).astype(int)
    noise = np.random.default_rng(0).normal(0, 6, photograph.shape)
    data = encoded(Image.fromarray(np.clip(photograph + noise, 0, 255).astype(np.uint8)), "JPEG")
    pictures = [images.decode_picture(data, LIMITS, scale) for scale in (lambda hw: 0.5, None)]
    assert [picture.decoded_hw for picture in pictures] == [(300, 400), (600, 800)]
    resized = [
        np.asarray(picture.resize((150, 200), images.BILINEAR)).astype(int) for picture in pictures
    ]
    assert np.abs(resized[0] - resized[1]).max() <= 4
    assert np.abs(resized[0] - resized[1]).mean() < 0.5


def test_a_size_above_the_limit_is_refused_before_it_is_shrunk():
    data = encoded(gradient(40, 60), "JPEG")
    with pytest.raises(ImageTooLarge, match="60x40"):
        images.decode_picture(data, Limits(image_pixels=2399), lambda hw: 0.1)


def test_a_picture_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(gradient(40, 60), "JPEG", exif=exif)
    assert images.decode_image(data, LIMITS).size == (40, 60)


@pytest.mark.parametrize("data", [b"", b"not a picture", b"GIF89a" + b"\0" * 40])
def test_what_is_not_a_picture_is_refused(data):
    with pytest.raises(InvalidImage, match="expected a whole JPEG, PNG or WebP"):
        images.decode_image(data, LIMITS)


@pytest.mark.parametrize("kind", images.FORMATS)
def test_a_truncated_picture_is_refused(kind):
    data = encoded(gradient(80, 90), kind)
    with pytest.raises(InvalidImage):
        images.decode_image(data[: len(data) // 2], LIMITS)


def test_a_huge_header_is_refused_before_decoding():
    with pytest.raises(ImageTooLarge, match="30000x30000"):
        images.decode_image(png_header(30_000, 30_000), LIMITS)


def test_too_many_bytes_are_refused():
    with pytest.raises(ImageTooLarge, match="at most 10 bytes, got 11"):
        images.decode_image(b"x" * 11, Limits(image_bytes=10))


@settings(max_examples=150)
@given(st.data())
def test_damaged_pictures_decode_or_raise_invalid_image(data):
    kind = data.draw(st.sampled_from(images.FORMATS))
    raw = bytearray(encoded(gradient(24, 33), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidImage, ImageTooLarge):
        images.decode_image(bytes(raw), LIMITS)


@given(st.integers(1, 3000), st.integers(1, 3000))
@example(1, 1334)
@example(500, 1334)
def test_resized_pictures_fit_their_canvas(height, width):
    short, long = min(height, width), max(height, width)
    sized = images.aspect_size((height, width), 800, 1333)
    assert max(sized) <= 1333
    assert max(images.longest_edge_size((height, width), 1024)) == 1024
    cropped = images.shortest_edge_size((height, width), 224)
    assert min(cropped) == 224
    assert max(cropped) == int(224 * long / short)


def test_padding_is_zero_and_bottom_right():
    padded = images.pad_to_canvas(gradient(2, 3).point(lambda _: 9), (4, 5))
    assert padded.shape == (3, 4, 5)
    assert (padded[:, :2, :3] == 9).all()
    assert padded.sum() == 9 * 3 * 2 * 3
