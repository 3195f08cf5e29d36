"""Facts about a picture beside its objects: when it was taken, and a thumbnail."""

from __future__ import annotations

import io
from contextlib import suppress
from datetime import datetime

from PIL import Image, ImageOps

# EXIF 2.32: tags of the time, and of the directory that has DateTimeOriginal.
_EXIF_IFD, _DATE_TIME_ORIGINAL, _DATE_TIME = 0x8769, 0x9003, 0x0132
_EXIF_TIME = "%Y:%m:%d %H:%M:%S"
THUMBNAIL_QUALITY = 80


def look_at(data: bytes, thumbnail: int = 0) -> tuple[datetime | None, bytes | None]:
    """When a picture was taken, by the camera's clock, and a JPEG of at most `thumbnail` px.

    None for what is missing; the server has read these bytes as a picture.
    """
    taken, small = None, None
    # Pillow raises many kinds for broken metadata, which do no harm.
    with suppress(Exception), Image.open(io.BytesIO(data)) as image:
        taken = _taken(image)
        if thumbnail:
            small = _thumbnail(image, thumbnail)
    return taken, small


def _taken(image: Image.Image) -> datetime | None:
    exif = image.getexif()
    text = exif.get_ifd(_EXIF_IFD).get(_DATE_TIME_ORIGINAL) or exif.get(_DATE_TIME)
    with suppress(TypeError, ValueError):
        return datetime.strptime(str(text).strip("\0 "), _EXIF_TIME)
    return None


def _thumbnail(image: Image.Image, edge: int) -> bytes:
    image.draft("RGB", (edge, edge))
    upright = ImageOps.exif_transpose(image)
    upright.thumbnail((edge, edge))
    buffer = io.BytesIO()
    upright.convert("RGB").save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return buffer.getvalue()
