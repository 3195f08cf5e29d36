"""Answers as pictures: the cut-out, or the drawing."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from fovea_client import MainObject, Mask, ServerError
from fovea_client.images import load
from PIL import Image

from fovea_web.verbs import CUTOUT

PNG = "image/png"
OPAQUE = 255


def render(form: str, picture: bytes, result: Any) -> bytes:
    """A PNG of the picture's size: its drawing, or the part under its first mask.

    Raises ServerError for an answer about a picture of another size.
    """
    from fovea_client.draw import draw

    image = load(picture)
    if (image.height, image.width) != tuple(result.size_hw):
        size = f"{image.width}x{image.height}"
        raise ServerError(f"expected an answer about {size} pixels, got {result.size_hw} (h, w)")
    shown = cut_out(image, first_mask(result)) if form == CUTOUT else draw(image, result)
    file = io.BytesIO()
    shown.save(file, "PNG", compress_level=1)
    return file.getvalue()


def first_mask(result: Any) -> Mask | None:
    """The mask of the main object, the best detection or the first prompt; None without any."""
    if isinstance(result, MainObject):
        return result.mask
    masks: tuple[Mask, ...] = result.masks
    return masks[0] if masks else None


def cut_out(image: Image.Image, mask: Mask | None) -> Image.Image:
    """An RGB picture as RGBA, transparent outside the mask; entirely transparent without one."""
    covered = np.zeros((image.height, image.width), np.bool_) if mask is None else mask.to_numpy()
    shown = image.copy()
    shown.putalpha(Image.fromarray(np.where(covered, OPAQUE, 0).astype(np.uint8)))
    return shown
