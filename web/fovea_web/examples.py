"""JSON values for the examples in the documentation."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image, ImageDraw

from fovea import mel, wav
from fovea.families.imagebind import GREY_HW
from fovea.families.imagebind import MOTION as MOTION_SHAPE

EDGE = 64


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return _base64(file.getvalue())


def _ball() -> Image.Image:
    image = Image.new("RGB", (EDGE, EDGE), (120, 170, 90))
    ImageDraw.Draw(image).ellipse((16, 16, 48, 48), fill=(200, 40, 30))
    return image


def _tone() -> bytes:
    """A WAV file: 440 Hz for 50 ms."""
    time = np.arange(mel.RATE // 20) / mel.RATE
    return wav.write(np.sin(2 * np.pi * 440 * time).astype(np.float32), mel.RATE)


# A red ball on a meadow.
PICTURE = _png(_ball())
SOUND = _base64(_tone())
GREY = _png(Image.linear_gradient("L").resize(GREY_HW))
MOTION = np.zeros(MOTION_SHAPE, int).tolist()
