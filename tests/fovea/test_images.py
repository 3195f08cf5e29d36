import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

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


def test_a_picture_decoded_smaller_is_nearly_the_same_after_the_resize():
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
def test_data_that_is_not_a_picture_is_refused(data):
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
    kind = data.draw(st.sampled_from([*images.FORMATS]))
    raw = bytearray(encoded(gradient(24, 33), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        images.decode_image(bytes(raw), LIMITS)
    except (InvalidImage, ImageTooLarge) as error:
        assert "object at 0x" not in str(error)


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


def with_png_chunk(data: bytes, kind: bytes, body: bytes, *, checksum: int | None = None) -> bytes:
    """A PNG with one more chunk before its pixels, optionally with a wrong checksum."""
    check = zlib.crc32(kind + body) if checksum is None else checksum
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)
    at = data.index(b"IDAT") - 4
    return data[:at] + chunk + data[at:]


def with_jpeg_segment(data: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment right after its start."""
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + data[2:]


PNG_CHUNKS = st.sampled_from(
    [b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"gAMA", b"pHYs", b"tIME"]
)
JPEG_MARKERS = st.sampled_from([0xE1, 0xE2, 0xED, 0xEF, 0xFE])
EXIF_STARTS = st.sampled_from(
    [b"", b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0", b"ICC_PROFILE\0\x01\x01"]
)


@given(PNG_CHUNKS, st.binary(max_size=60), st.sampled_from([None, 0, 0xDEADBEEF]))
@example(b"zTXt", b"a\0\0" + zlib.compress(bytes(4_000_000)), None)
@example(b"iCCP", b"a\0\0" + zlib.compress(bytes(4_000_000)), None)
def test_a_png_is_its_pixels_whatever_its_metadata_says(kind, body, checksum):
    plain = encoded(gradient(20, 30), "PNG")
    decoded = images.decode_image(with_png_chunk(plain, kind, body, checksum=checksum), LIMITS)
    assert np.array_equal(decoded, images.decode_image(plain, LIMITS))


@given(JPEG_MARKERS, EXIF_STARTS, st.binary(max_size=60))
@example(0xE1, b"Exif\0\0", b"MM\0*\0\0\0\x08\xff\xff")
def test_a_jpeg_is_its_pixels_whatever_its_metadata_says(marker, start, body):
    plain = encoded(gradient(20, 30), "JPEG")
    decoded = images.decode_image(with_jpeg_segment(plain, marker, start + body), LIMITS)
    assert np.array_equal(decoded, images.decode_image(plain, LIMITS))


def test_an_orientation_that_does_not_exist_means_upright():
    exif = Image.Exif()
    exif[0x0112] = 77
    assert images.decode_image(encoded(gradient(40, 60), "JPEG", exif=exif), LIMITS).size == (
        60,
        40,
    )


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(gradient(40, 60), "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(images.decode_image(data, LIMITS), expected)


RAMP = np.linspace(0, 60_000, 64 * 64).reshape(64, 64)


@pytest.mark.parametrize(
    "deep", [RAMP.astype(np.uint16), RAMP.astype(np.int32), RAMP.astype(np.float32)]
)
def test_deep_grey_keeps_its_brightness(deep):
    levels = np.asarray(images.to_rgb(Image.fromarray(deep)))[..., 0]
    assert np.array_equal(levels, deep.astype(int) >> 8)


def test_shares_of_white_and_levels_are_told_apart():
    shares = Image.fromarray(np.array([[0, 0.5, 1]], np.float32))
    levels = Image.fromarray(np.array([[0, 127, 255]], np.float32))
    assert np.asarray(images.to_rgb(shares))[0, :, 0].tolist() == [0, 127, 255]
    assert np.asarray(images.to_rgb(levels))[0, :, 0].tolist() == [0, 127, 255]


def test_decoding_leaves_the_programs_own_limit_alone():
    limit = Image.MAX_IMAGE_PIXELS
    images.decode_image(encoded(gradient(40, 60), "PNG"), LIMITS)
    assert Image.MAX_IMAGE_PIXELS == limit > 0


@pytest.mark.parametrize("size_hw", [(1, 40_000), (40_000, 1)])
def test_the_crop_of_a_long_picture_is_made_alone(size_hw):
    picture = images.Picture(gradient(*size_hw))
    whole_hw = images.shortest_edge_size(size_hw, 224)
    crop = np.asarray(picture.resized_crop(whole_hw, 224, images.BICUBIC), int)
    assert crop.shape == (224, 224, 3)
    middle = np.asarray(gradient(*size_hw), int)[size_hw[0] // 2, size_hw[1] // 2]
    assert np.abs(crop - middle).max() <= 255 // min(size_hw) + 1


@pytest.mark.parametrize(("margin", "down", "even"), [(4, 2, 2), (5, 2, 2), (7, 3, 4)])
def test_half_a_pixel_of_a_crops_margin_is_rounded_down_or_to_even(margin, down, even):
    assert images.crop_start(64 + margin, 64) == down
    assert images.crop_start(64 + margin, 64, to_even=True) == even


@given(st.integers(1, 300), st.integers(1, 300), st.integers(4, 40))
@settings(max_examples=40)
def test_a_crop_made_alone_is_that_of_the_whole(height, width, edge):
    picture = images.Picture(gradient(height, width))
    size_hw = images.shortest_edge_size((height, width), edge)
    top, left = (images.crop_start(length, edge) for length in size_hw)
    part = (left, top, left + edge, top + edge)
    whole = picture.resize(size_hw, images.BICUBIC).crop(part)
    alone = picture.resized_part(size_hw, part, images.BICUBIC)
    assert np.abs(np.asarray(whole, int) - np.asarray(alone, int)).max() <= 2
