"""Draws results onto their picture: translucent masks with a crisp edge, boxes, label tags.

All sizes scale with the picture's, so that 64 pixels and 4K look alike. Frames: boxes and
tags are xyxy in pixels of the upright picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fovea_client import images
from fovea_client.errors import InvalidInput
from fovea_client.images import Picture
from fovea_client.masks import Mask
from fovea_client.objects import Objects
from fovea_client.results import Detections, MainObject, Segmentation, SegmentedDetections
from fovea_client.scenes import SceneSegmentation

Result: TypeAlias = MainObject | Detections | Segmentation | Objects | SceneSegmentation
Color: TypeAlias = tuple[int, int, int]
Box: TypeAlias = tuple[float, float, float, float]

# Far apart in hue and similar in lightness, so that neighbours differ and all show on photographs.
PALETTE: tuple[Color, ...] = (
    (255, 92, 57),
    (0, 174, 239),
    (124, 196, 0),
    (255, 176, 0),
    (178, 102, 255),
    (0, 196, 154),
    (255, 77, 148),
    (92, 124, 250),
)
GREY: Color = (96, 96, 96)
WHITE: Color = (255, 255, 255)
INK: Color = (16, 16, 16)

MASK_OPACITY = 0.45
# Shares of the picture's size, the square root of its area.
LINE_SHARE = 1 / 360
FONT_SHARE = 1 / 36
MIN_FONT_PX, SMALLEST_FONT_PX = 11, 7
# Above this luma, dark ink reads better than white.
LIGHT_LUMA = 150


@dataclass(frozen=True)
class Item:
    """One thing to draw: the box is drawn, the tag is at the anchor; a mask may be alone."""

    color: Color
    anchor: Box
    name: str
    score: float | None
    box: Box | None = None
    mask: NDArray[np.bool_] | None = None


def draw(picture: Picture, result: Result) -> Image.Image:
    """A new RGB picture with the result drawn in; InvalidInput if it has another size."""
    image = images.load(picture)
    size_hw = (image.height, image.width)
    if size_hw != tuple(result.size_hw):
        raise InvalidInput(f"expected the picture of size {result.size_hw}, got {size_hw}")
    items = _items(result)
    pixels = np.array(image)
    line = max(1, round(math.sqrt(image.width * image.height) * LINE_SHARE))
    for item in sorted(items, key=_mask_area, reverse=True):
        if item.mask is not None:
            _draw_mask(pixels, item.mask, item.color, line)
    drawn = Image.fromarray(pixels)
    for item in items:
        if item.box is not None:
            _draw_box(drawn, item, line)
    _draw_tags(drawn, items, line)
    return drawn


def _items(result: Result) -> list[Item]:
    if isinstance(result, MainObject):
        return [_main_item(result)]
    if isinstance(result, Objects):  # so many that tags would hide them
        return [
            Item(_color(index), _box(box), "", None, None, mask.to_numpy())
            for index, (box, mask) in enumerate(zip(result.boxes, result.masks, strict=True))
        ]
    if isinstance(result, SceneSegmentation):
        return _scene_items(result)
    if isinstance(result, Segmentation):
        pairs = zip(result.masks, result.scores.tolist(), strict=True)
        return [
            Item(_color(index), _box(mask.box()), "", score, None, mask.to_numpy())
            for index, (mask, score) in enumerate(pairs)
        ]
    masks = result.masks if isinstance(result, SegmentedDetections) else (None,) * len(result)
    found = zip(result.boxes, result.phrases, result.scores.tolist(), masks, strict=True)
    return [
        Item(_color(index), _box(box), name, score, _box(box), _decode(mask))
        for index, (box, name, score, mask) in enumerate(found)
    ]


def _main_item(result: MainObject) -> Item:
    if result.box is None:
        name = f"no {result.label} found" if result.label else "nothing found"
        return Item(GREY, (0, 0, 0, 0), name, None)
    box, mask = _box(result.box), _decode(result.mask)
    return Item(_color(0), box, result.label or "", result.label_score, box, mask)


def _scene_items(result: SceneSegmentation) -> list[Item]:
    """A colour for each segment; scores only if there are different ones."""
    scored = bool((result.scores < 1).any())
    found = zip(result.masks, result.labels, result.scores.tolist(), strict=True)
    return [
        Item(_color(i), _box(mask.box()), label, score if scored else None, None, mask.to_numpy())
        for i, (mask, label, score) in enumerate(found)
    ]


def _decode(mask: Mask | None) -> NDArray[np.bool_] | None:
    return None if mask is None else mask.to_numpy()


def _color(index: int) -> Color:
    return PALETTE[index % len(PALETTE)]


def _box(box_xyxy: NDArray[np.float32]) -> Box:
    left, top, right, bottom = box_xyxy.tolist()
    return left, top, right, bottom


def _mask_area(item: Item) -> int:
    return 0 if item.mask is None else int(item.mask.sum())


def _draw_mask(pixels: NDArray[np.uint8], mask: NDArray[np.bool_], color: Color, line: int) -> None:
    """Tint the masked pixels in place, and stroke the edge in white under the colour."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    window = np.s_[top : top + height, left : left + width]
    inside = mask[window]
    tinted = pixels[window][inside] * (1 - MASK_OPACITY) + np.array(color) * MASK_OPACITY
    pixels[window][inside] = tinted.round().astype(np.uint8)
    edges, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if min(pixels.shape[:2]) >= 128:  # on fewer pixels the second stroke would hide the thing
        cv2.drawContours(pixels, edges, -1, WHITE, line + 2, cv2.LINE_AA)
    cv2.drawContours(pixels, edges, -1, color, line, cv2.LINE_AA)


def _draw_box(image: Image.Image, item: Item, line: int) -> None:
    """The line lies within the box, so that boxes at the border stay visible."""
    left, top, right, bottom = item.anchor
    corners = (
        min(max(0, round(left)), image.width - 1),
        min(max(0, round(top)), image.height - 1),
        max(0, min(round(right), image.width) - 1),
        max(0, min(round(bottom), image.height) - 1),
    )
    if corners[0] <= corners[2] and corners[1] <= corners[3]:
        ImageDraw.Draw(image).rectangle(corners, outline=item.color, width=line)


def _draw_tags(image: Image.Image, items: list[Item], line: int) -> None:
    taken: list[Box] = []
    painter = ImageDraw.Draw(image)
    for item in items:
        text, font = _fit_text(item, image.width, image.width * image.height)
        if not text:
            continue
        pad = max(1, round(font.size / 4))
        width = math.ceil(font.getlength(text)) + 2 * pad
        ascent, descent = font.getmetrics()
        height = ascent + descent + pad
        tag = _place((width, height), item.anchor, image.size, taken)
        taken.append(tag)
        painter.rounded_rectangle(tag, radius=pad, fill=item.color)
        ink = INK if _luma(item.color) > LIGHT_LUMA else WHITE
        painter.text((tag[0] + pad, tag[1] + pad / 2), text, font=font, fill=ink)


def _fit_text(item: Item, width: int, area: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """The longest form of the caption that fits the picture's width, and its font."""
    score = "" if item.score is None else f"{item.score:.2f}"
    full = f"{item.name} {score}".strip()
    wanted = max(MIN_FONT_PX, round(math.sqrt(area) * FONT_SHARE))
    for size in dict.fromkeys((wanted, max(SMALLEST_FONT_PX, wanted // 2), SMALLEST_FONT_PX)):
        font = _font(size)
        room = width - 2 * max(1, round(size / 4))
        for text in dict.fromkeys((full, item.name or score)):
            if font.getlength(text) <= room:
                return text, font
    shortened = item.name or score
    while shortened and font.getlength(shortened + "…") > room:
        shortened = shortened[:-1]
    return (shortened + "…" if shortened else ""), font


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # with a size, Pillow's font is scalable
    return font


def _place(
    tag_wh: tuple[int, int], anchor: Box, image_wh: tuple[int, int], taken: list[Box]
) -> Box:
    """The tag's place: above the box, below it or within, the first one that is free."""
    width, height = tag_wh
    left = max(0.0, min(round(anchor[0]), image_wh[0] - width))
    tops = (anchor[1] - height, anchor[3], anchor[1], anchor[3] - height)
    places: list[Box] = []
    for top in tops:
        y = float(round(top))
        if y >= 0 and y + height <= image_wh[1]:
            places.append((left, y, left + width - 1, y + height - 1))
    lowest = max(0.0, min(round(anchor[1]), image_wh[1] - height))
    places.append((left, lowest, left + width - 1, lowest + height - 1))
    free = [place for place in places if not any(_overlap(place, other) for other in taken)]
    return free[0] if free else places[0]


def _overlap(a: Box, b: Box) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _luma(color: Color) -> float:
    red, green, blue = color
    return 0.299 * red + 0.587 * green + 0.114 * blue
