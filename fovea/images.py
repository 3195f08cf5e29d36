"""All pixel arithmetic: decode, resize, crop, pad.

Frames: `*_hw` is (height, width) in pixels. Resizing works on uint8 with Pillow's antialiased
filters, which equal those of the checkpoints' own image processors; OpenCV's do not.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from fovea import metadata
from fovea.errors import ImageTooLarge, InvalidImage
from fovea.limits import Limits

# Pillow's class for each format, and how its files begin.
FORMATS: Mapping[str, tuple[type[ImageFile.ImageFile], re.Pattern[bytes]]] = {
    "JPEG": (JpegImagePlugin.JpegImageFile, re.compile(re.escape(metadata.JPEG_START))),
    "PNG": (PngImagePlugin.PngImageFile, re.compile(re.escape(metadata.PNG_SIGNATURE))),
    "WEBP": (WebPImagePlugin.WebPImageFile, re.compile(rb"RIFF.{4}WEBP", re.DOTALL)),
}
NEAREST = Image.Resampling.NEAREST
BILINEAR = Image.Resampling.BILINEAR
BICUBIC = Image.Resampling.BICUBIC

Resampling = Image.Resampling  # takes Pillow's code of a filter

WHITE, WHITE_16_BIT = 255, 65535

LeastScale = Callable[[tuple[int, int]], float]

# EXIF orientations that swap width and height.
QUARTER_TURNS = (5, 6, 7, 8)
# EXIF orientation -> the turn that makes such a picture upright (EXIF 2.32, tag 0x0112).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# A crop is made alone if the whole resized picture would be more than this many edges long.
CROPS_LONG = 64


def decode_image(data: bytes, limits: Limits) -> Image.Image:
    """An encoded picture as RGB, upright by its EXIF orientation; alpha is dropped.

    Raises ImageTooLarge (checked before decoding) and InvalidImage.
    """
    return _decode(data, limits, None)[0]


def _decode(
    data: bytes, limits: Limits, least_scale: LeastScale | None
) -> tuple[Image.Image, tuple[int, int]]:
    """The picture, maybe at a fraction of its size, and its whole size.

    If metadata is broken, only the pixels are decoded, without a turn.
    """
    if len(data) > limits.image_bytes:
        raise ImageTooLarge(f"expected at most {limits.image_bytes} bytes, got {len(data)}")
    try:
        return _open(data, limits, least_scale)
    except (ImageTooLarge, InvalidImage):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for broken data
        pixels = metadata.pixels_only(data)
        if pixels != data:
            with suppress(Exception):
                return _open(pixels, limits, least_scale)
        raise InvalidImage(
            f"expected a whole JPEG, PNG or WebP picture, got {len(data)} bytes "
            f"that begin with {bytes(data[:12])!r}: {error}"
        ) from error


def _open(
    data: bytes, limits: Limits, least_scale: LeastScale | None
) -> tuple[Image.Image, tuple[int, int]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _plugin(data)(io.BytesIO(data))
        _check_size(image.size, limits)
        if image.format != "JPEG":
            image.load()  # a PNG may store its orientation behind its pixels
        orientation = _orientation(image)
        turned = orientation in QUARTER_TURNS
        size_hw = (image.width, image.height) if turned else (image.height, image.width)
        if least_scale is not None:
            _shrink(image, least_scale(size_hw))
        image.load()
        upright = _UPRIGHT.get(orientation)
        return to_rgb(image if upright is None else image.transpose(upright)), size_hw


def _plugin(data: bytes) -> type[ImageFile.ImageFile]:
    """Pillow's class for the format that the data begins with; ValueError for others.

    `Image.open` would apply a size limit that the whole program shares; fovea's comes next.
    """
    for plugin, start in FORMATS.values():
        if start.match(data):
            return plugin
    raise ValueError("it begins like none of them")


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise InvalidImage(f"expected a picture with pixels, got {width}x{height}")
    if width * height > limits.image_pixels:
        raise ImageTooLarge(
            f"expected at most {limits.image_pixels} pixels, got {width}x{height} "
            f"= {width * height}"
        )


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; an unreadable one counts as upright, 1."""
    with suppress(Exception):  # broken EXIF raises many kinds
        orientation = image.getexif().get(ExifTags.Base.Orientation)
        if orientation in _UPRIGHT:
            return int(orientation)
    return 1


def _shrink(image: Image.Image, scale: float) -> None:
    """Make Pillow decode a JPEG at the smallest of 1/2, 1/4 and 1/8 that is at least `scale`."""
    if scale < 1:
        image.draft(None, (math.ceil(image.width * scale), math.ceil(image.height * scale)))


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB from any of Pillow's modes; alpha is dropped.

    Grey of more than 8 bit keeps its brightness: 16 bit ("I;16", "I;16B", …) loses its lower
    byte. 32-bit integers ("I") and floats ("F") count as 16 bit if a value is above 255, and floats
    of at most 1 as shares of white; else they are levels from 0 to 255.
    """
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image) >> 8)
    if image.mode in ("I", "F"):
        return _grey(_levels(np.nan_to_num(np.asarray(image, np.float64))))
    return image.convert("RGB")


def _levels(values: NDArray[np.float64]) -> NDArray[Any]:
    brightest = values.max(initial=0)
    if brightest > WHITE:
        return values.clip(0, WHITE_16_BIT) // 256
    shares = 0 < brightest <= 1 and not np.array_equal(values, values.round())
    return (values * WHITE if shares else values).clip(0, WHITE)


def _grey(levels: NDArray[Any]) -> Image.Image:
    return Image.fromarray(levels.astype(np.uint8)).convert("RGB")


def aspect_size(
    image_hw: tuple[int, int], shortest_edge: int, longest_edge: int
) -> tuple[int, int]:
    """Size (h, w) with the shortest edge as given unless the longest would be too long.

    A very thin picture keeps one pixel, as in every size here.

    Formula: transformers `image_transforms.get_size_with_aspect_ratio`, which GroundingDINO's
    processor uses. It may leave a picture one pixel too long (500 x 1334 for 800, 1333); here that
    pixel is dropped, as the canvas has no room for it.
    """
    height, width = image_hw
    low, high = float(min(image_hw)), float(max(image_hw))
    edge: float = shortest_edge
    if high / low * shortest_edge > longest_edge:
        edge = longest_edge * low / high
    short = round(edge)
    if min(image_hw) == short:
        return min(height, longest_edge), min(width, longest_edge)
    if width < height:
        return _at_least_one_pixel(int(edge * height / width), short)
    return _at_least_one_pixel(short, int(edge * width / height))


def longest_edge_size(image_hw: tuple[int, int], longest_edge: int) -> tuple[int, int]:
    """Size (h, w) with the longest edge as given (segment-anything's ResizeLongestSide)."""
    scale = longest_edge * 1.0 / max(image_hw)
    return _at_least_one_pixel(int(image_hw[0] * scale + 0.5), int(image_hw[1] * scale + 0.5))


def shortest_edge_size(image_hw: tuple[int, int], shortest_edge: int) -> tuple[int, int]:
    """Size (h, w) with the shortest edge as given (CLIP's processor)."""
    height, width = image_hw
    if width <= height:
        return int(shortest_edge * height / width), shortest_edge
    return shortest_edge, int(shortest_edge * width / height)


def _at_least_one_pixel(height: int, width: int) -> tuple[int, int]:
    return max(1, height), max(1, width)


class Picture:
    """A decoded picture that is resized only once to a size that several networks share.

    Attributes:
        hw: height and width in pixels of the picture as sent; the decoded one may be smaller.
    """

    def __init__(self, image: Image.Image, hw: tuple[int, int] | None = None) -> None:
        self._image = image
        self._resized: dict[tuple[int, int, Image.Resampling], Image.Image] = {}
        self.hw = hw or (image.height, image.width)

    @property
    def decoded_hw(self) -> tuple[int, int]:
        """Height and width in pixels of the decoded picture."""
        return self._image.height, self._image.width

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The decoded picture, RGB uint8 [H, W, 3], read-only."""
        return np.asarray(self._image, np.uint8)

    def resize(self, size_hw: tuple[int, int], resample: Image.Resampling) -> Image.Image:
        """The picture in size (h, w), read-only."""
        height, width = size_hw
        key = (height, width, resample)
        if key not in self._resized:
            self._resized[key] = self._image.resize((width, height), resample)
        return self._resized[key]

    def resized_crop(
        self,
        size_hw: tuple[int, int],
        edge: int,
        resample: Image.Resampling,
        *,
        to_even: bool = False,
    ) -> Image.Image:
        """The middle `edge` x `edge` pixels of the picture in size (h, w); see `crop_start`.

        For a very long picture only the part behind the crop is resized: 40000 x 1 with a shortest
        edge of 224 would have two thousand million pixels. Levels may then differ by two from those
        of the whole, whose place Pillow rounds differently.
        """
        top, left = (crop_start(length, edge, to_even=to_even) for length in size_hw)
        part_xyxy = (left, top, left + edge, top + edge)
        if max(size_hw) <= CROPS_LONG * edge:
            return self.resize(size_hw, resample).crop(part_xyxy)
        return self.resized_part(size_hw, part_xyxy, resample)

    def resized_part(
        self,
        size_hw: tuple[int, int],
        part_xyxy: tuple[int, int, int, int],
        resample: Image.Resampling,
    ) -> Image.Image:
        """A part of the picture in size (h, w), in its pixels; only that part is resized."""
        left, top, right, bottom = part_xyxy
        across, down = self._image.width / size_hw[1], self._image.height / size_hw[0]
        box = (left * across, top * down, right * across, bottom * down)
        return self._image.resize((right - left, bottom - top), resample, box)


def decode_picture(data: bytes, limits: Limits, least_scale: LeastScale | None = None) -> Picture:
    """Like `decode_image`, but a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size to save time.

    least_scale: from the size (h, w) to the share of its edges that is needed; the smallest
    sufficient fraction is used.
    """
    return Picture(*_decode(data, limits, least_scale))


def crop_start(length: int, edge: int, *, to_even: bool = False) -> int:
    """The first of the middle `edge` of `length` pixels; halves are rounded down or to even."""
    return round((length - edge) / 2) if to_even else (length - edge) // 2


def to_chw(image: Image.Image) -> NDArray[np.uint8]:
    """RGB picture as uint8 [3, H, W]."""
    return np.ascontiguousarray(np.asarray(image, np.uint8).transpose(2, 0, 1))


def pad_to_canvas(image: Image.Image, canvas_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 [3, H, W] of size `canvas_hw`, the picture at top left, zeros beyond."""
    pixels = np.zeros((3, *canvas_hw), np.uint8)
    pixels[:, : image.height, : image.width] = np.asarray(image, np.uint8).transpose(2, 0, 1)
    return pixels
