"""The one home of pixel arithmetic: decode, resize, crop, pad.

Frames: `*_hw` is (height, width) in pixels. Resizing is on uint8 with Pillow's antialiased
filters, which equal those of the checkpoints' own image processors; OpenCV's do not.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from fovea.errors import ImageTooLarge, InvalidImage
from fovea.limits import Limits

FORMATS = ("JPEG", "PNG", "WEBP")
BILINEAR = Image.Resampling.BILINEAR
BICUBIC = Image.Resampling.BICUBIC

Resampling = Image.Resampling  # takes Pillow's code of a filter

LeastScale = Callable[[tuple[int, int]], float]

# EXIF orientations that swap width and height.
QUARTER_TURNS = (5, 6, 7, 8)

# The limit on pixels is ours, checked from the header; Pillow's own would only warn.
Image.MAX_IMAGE_PIXELS = None


def decode_image(data: bytes, limits: Limits) -> Image.Image:
    """An encoded picture as RGB, upright by its EXIF orientation; alpha is dropped.

    Raises ImageTooLarge (checked before decoding) and InvalidImage.
    """
    return _decode(data, limits, None)[0]


def _decode(
    data: bytes, limits: Limits, least_scale: LeastScale | None
) -> tuple[Image.Image, tuple[int, int]]:
    """The picture, maybe at a fraction of its size, and its whole size."""
    if len(data) > limits.image_bytes:
        raise ImageTooLarge(f"expected at most {limits.image_bytes} bytes, got {len(data)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            _check_size(image.size, limits)
            size_hw = _upright_hw(image)
            if least_scale is not None:
                _shrink(image, least_scale(size_hw))
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image)), size_hw
    except (ImageTooLarge, InvalidImage):
        raise
    except Exception as error:  # Pillow's decoders raise many kinds for broken data
        raise InvalidImage(
            f"expected a whole JPEG, PNG or WebP picture, got {len(data)} bytes "
            f"that begin with {bytes(data[:12])!r}: {error}"
        ) from error


def _check_size(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise InvalidImage(f"expected a picture with pixels, got {width}x{height}")
    if width * height > limits.image_pixels:
        raise ImageTooLarge(
            f"expected at most {limits.image_pixels} pixels, got {width}x{height} "
            f"= {width * height}"
        )


def _upright_hw(image: Image.Image) -> tuple[int, int]:
    turned = image.getexif().get(ExifTags.Base.Orientation) in QUARTER_TURNS
    return (image.width, image.height) if turned else (image.height, image.width)


def _shrink(image: Image.Image, scale: float) -> None:
    """Have a JPEG decoded at the smallest of 1/2, 1/4 and 1/8 that is at least `scale`."""
    if scale < 1:
        image.draft(None, (math.ceil(image.width * scale), math.ceil(image.height * scale)))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # convert() would clip 16-bit grey at 255
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def aspect_size(
    image_hw: tuple[int, int], shortest_edge: int, longest_edge: int
) -> tuple[int, int]:
    """Size (h, w) with the shortest edge as given unless the longest would be too long.

    Formula: transformers `image_transforms.get_size_with_aspect_ratio`, which GroundingDINO's
    processor uses. It may leave a picture one pixel too long (500 x 1334 for 800, 1333); here
    that pixel goes, as the canvas has no room for it.
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
        return int(edge * height / width), short
    return short, int(edge * width / height)


def longest_edge_size(image_hw: tuple[int, int], longest_edge: int) -> tuple[int, int]:
    """Size (h, w) with the longest edge as given (segment-anything's ResizeLongestSide)."""
    scale = longest_edge * 1.0 / max(image_hw)
    return int(image_hw[0] * scale + 0.5), int(image_hw[1] * scale + 0.5)


def shortest_edge_size(image_hw: tuple[int, int], shortest_edge: int) -> tuple[int, int]:
    """Size (h, w) with the shortest edge as given (CLIP's processor)."""
    height, width = image_hw
    if width <= height:
        return int(shortest_edge * height / width), shortest_edge
    return shortest_edge, int(shortest_edge * width / height)


class Picture:
    """A decoded picture that is resized only once to a size that several networks share.

    Attributes:
        hw: height and width in pixels of the picture that was sent; what was decoded of it may
            be smaller.
    """

    def __init__(self, image: Image.Image, hw: tuple[int, int] | None = None) -> None:
        self._image = image
        self._resized: dict[tuple[int, int, Image.Resampling], Image.Image] = {}
        self.hw = hw or (image.height, image.width)

    @property
    def decoded_hw(self) -> tuple[int, int]:
        """Height and width in pixels of what was decoded."""
        return self._image.height, self._image.width

    def resize(self, size_hw: tuple[int, int], resample: Image.Resampling) -> Image.Image:
        """The picture in size (h, w), at least one pixel each way; not to be written to."""
        height, width = (max(1, edge) for edge in size_hw)
        key = (height, width, resample)
        if key not in self._resized:
            self._resized[key] = self._image.resize((width, height), resample)
        return self._resized[key]


def decode_picture(data: bytes, limits: Limits, least_scale: LeastScale | None = None) -> Picture:
    """As `decode_image`, and a JPEG perhaps at 1/2, 1/4 or 1/8 of its size, which saves time.

    least_scale: from the size (h, w) to the share of its edges that is needed: the smallest
    fraction is taken that is enough.
    """
    return Picture(*_decode(data, limits, least_scale))


def center_crop(image: Image.Image, edge: int) -> Image.Image:
    """The middle `edge` x `edge` pixels of a picture that is at least as large."""
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    return image.crop((left, top, left + edge, top + edge))


def to_chw(image: Image.Image) -> NDArray[np.uint8]:
    """RGB picture as uint8 [3, H, W]."""
    return np.ascontiguousarray(np.asarray(image, np.uint8).transpose(2, 0, 1))


def pad_to_canvas(image: Image.Image, canvas_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 [3, H, W] of size `canvas_hw`, the picture at top left, zeros beyond."""
    pixels = np.zeros((3, *canvas_hw), np.uint8)
    pixels[:, : image.height, : image.width] = np.asarray(image, np.uint8).transpose(2, 0, 1)
    return pixels
