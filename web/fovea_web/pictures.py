"""Answers as pictures: what was cut out, or the drawing."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from fovea_client import MainObject, Mask
from fovea_client.images import load
from PIL import Image

from fovea_web.verbs import CUTOUT

PNG = "image/png"
OPAQUE = 255


def render(form: str, picture: bytes, result: Any) -> bytes:
    """A PNG of the picture's size: its drawing, or what its first mask covers."""
    from fovea_client.draw import draw

    image = cut_out(picture, first_mask(result)) if form == CUTOUT else draw(picture, result)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def first_mask(result: Any) -> Mask | None:
    """Of the main object, the best detection, the first prompt; None if nothing was found."""
    if isinstance(result, MainObject):
        return result.mask
    masks: tuple[Mask, ...] = result.masks
    return masks[0] if masks else None


def cut_out(picture: bytes, mask: Mask | None) -> Image.Image:
    """The picture as RGBA, transparent outside the mask; without one, everywhere."""
    image = load(picture)
    covered = np.zeros((image.height, image.width), np.bool_) if mask is None else mask.to_numpy()
    image.putalpha(Image.fromarray(np.where(covered, OPAQUE, 0).astype(np.uint8)))
    return image
