"""Cuts out an object for an embedder: a square around it, with the background blurred.

A square crop keeps the object's proportions, a margin its outline; the blurred background only
hints at the place. `python -m demo.crops` compares this with other crops.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from fovea import images
from fovea.geometry import Geometry
from fovea.images import Picture

# Share of the object's longer side, added on each side.
MARGIN = 0.1
# Standard deviation of the Gaussian that blurs the background, as a share of the crop's edge.
BLUR = 0.05
# Crops are cut from a picture whose longest edge has at most this many pixels.
PICTURE_EDGE = 2048

Square = tuple[float, float, float, float]
# A square of the original picture and an edge -> the object's mask in it, bool [edge, edge].
MaskWithin = Callable[[Square, int], NDArray[np.bool_]]


def source(picture: Picture) -> NDArray[np.uint8]:
    """The picture that crops are cut from: RGB uint8 [H, W, 3], at most PICTURE_EDGE long."""
    if max(picture.decoded_hw) <= PICTURE_EDGE:
        return picture.pixels
    size_hw = images.longest_edge_size(picture.decoded_hw, PICTURE_EDGE)
    return np.asarray(picture.resize(size_hw, images.BICUBIC), np.uint8)


def square_around(
    box_xyxy: NDArray[np.float32], original_hw: tuple[int, int], *, margin: float = MARGIN
) -> Square:
    """The square (left, top, right, bottom) that is cut out for an object's box.

    It is moved into the picture if possible; around a long object it may reach beyond.
    """
    left, top, right, bottom = map(float, box_xyxy)
    edge = max(1.0, (1 + 2 * margin) * max(right - left, bottom - top))
    height, width = original_hw
    x = _placed((left + right - edge) / 2, edge, width)
    y = _placed((top + bottom - edge) / 2, edge, height)
    return x, y, x + edge, y + edge


def _placed(start: float, length: float, room: int) -> float:
    """The start of a part, moved within `room`; one that is too long is centred."""
    if length >= room:
        return (room - length) / 2
    return min(max(start, 0.0), room - length)


def crop(
    pixels: NDArray[np.uint8],
    box_xyxy: NDArray[np.float32],
    original_hw: tuple[int, int],
    mask_within: MaskWithin,
    geometry: Geometry,
    *,
    margin: float = MARGIN,
    blur: float = BLUR,
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """The pixels and the valid size of an object's crop, as `geometry` makes them.

    pixels: of `source`. box_xyxy: float32 [4], in pixels of the original picture. Black beyond the
    picture's border.
    """
    square = square_around(box_xyxy, original_hw, margin=margin)
    edge = max(geometry.resized_hw((1, 1)))
    image = _cut(pixels, square, original_hw, edge, images.Resampling(geometry.resample))
    blurred = image.filter(ImageFilter.GaussianBlur(blur * edge))
    mask = Image.fromarray(mask_within(square, edge))
    return geometry.apply(Picture(Image.composite(image, blurred, mask)))


def _cut(
    pixels: NDArray[np.uint8],
    square: Square,
    original_hw: tuple[int, int],
    edge: int,
    resample: Image.Resampling,
) -> Image.Image:
    """A square of the original picture, resized to `edge`."""
    height, width = pixels.shape[:2]
    across, down = width / original_hw[1], height / original_hw[0]
    left, top, right, bottom = (
        square[0] * across, square[1] * down, square[2] * across, square[3] * down
    )  # fmt: skip
    whole = (
        int(np.floor(left)), int(np.floor(top)), int(np.ceil(right)), int(np.ceil(bottom))
    )  # fmt: skip
    part = Image.fromarray(pixels).crop(whole)
    box = (left - whole[0], top - whole[1], right - whole[0], bottom - whole[1])
    return part.resize((edge, edge), resample, box)
