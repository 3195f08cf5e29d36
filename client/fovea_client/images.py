"""Pictures from callers, as encoded bytes for the wire, and as RGB for drawing.

A file or bytes are sent as they are. Pixels are encoded losslessly: PNG at the fastest compression
level, since a network is faster than zlib's slower levels; with `jpeg_quality` as JPEG, which is
several times smaller and slightly lossy. The frame of boxes and masks is the upright picture: files
and bytes are turned by their EXIF orientation, pixels stay as they are.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from fovea_client.errors import InvalidImage

if TYPE_CHECKING:
    from PIL import Image

PNG_COMPRESS_LEVEL = 1
PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")

Picture: TypeAlias = Union[
    str, "os.PathLike[str]", bytes, bytearray, memoryview, NDArray[np.uint8], "Image.Image"
]


def encode(picture: Picture, *, jpeg_quality: int | None = None) -> bytes:
    """Encoded bytes (JPEG, PNG or WebP) of a path, bytes, uint8 [H, W, 3] RGB or [H, W], or PIL.

    jpeg_quality: 1 to 95 encodes pixels as JPEG instead of PNG; files and bytes are never
    encoded again. Raises InvalidImage if the file is missing or the array is not a picture; the
    server checks whether the bytes are one.
    """
    if isinstance(picture, (str, os.PathLike)):
        return _read(Path(picture))
    if isinstance(picture, (bytes, bytearray, memoryview)):
        data = bytes(picture)
        if not data:
            raise InvalidImage("expected an encoded picture, got 0 bytes")
        return data
    return _encode_pixels(_to_pil(picture), jpeg_quality)


def load(picture: Picture) -> Image.Image:
    """The picture as upright RGB, in the frame that boxes and masks refer to."""
    from fovea import images
    from fovea.limits import Limits

    if isinstance(picture, (str, os.PathLike, bytes, bytearray, memoryview)):
        return images.decode_image(encode(picture), Limits())
    return images.to_rgb(_to_pil(picture))


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidImage(
            f"expected a picture file, got {str(path)!r}: {error.strerror or error}"
        ) from error
    except ValueError as error:  # a NUL in the path
        raise InvalidImage(f"expected a picture file, got {str(path)!r}: {error}") from error
    if not data:
        raise InvalidImage(f"expected a picture file, got {str(path)!r}: it is empty")
    return data


def _to_pil(picture: Any) -> Image.Image:
    from PIL import Image

    if isinstance(picture, Image.Image):
        return picture
    if not isinstance(picture, np.ndarray):
        raise InvalidImage(
            f"expected a path, bytes, a numpy array or a PIL image, got {type(picture).__name__}"
        )
    grey_or_rgb = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)
    if picture.dtype != np.uint8 or not grey_or_rgb or picture.size == 0:
        raise InvalidImage(
            f"expected uint8 [H, W, 3] RGB or [H, W], got {picture.dtype} {list(picture.shape)}"
        )
    return Image.fromarray(np.ascontiguousarray(picture))


def _encode_pixels(image: Image.Image, jpeg_quality: int | None) -> bytes:
    from fovea import images

    buffer = io.BytesIO()
    try:
        if jpeg_quality is not None:
            images.to_rgb(image).save(buffer, "JPEG", quality=jpeg_quality)
        else:
            lossless = image if image.mode in PNG_MODES else images.to_rgb(image)
            lossless.save(buffer, "PNG", compress_level=PNG_COMPRESS_LEVEL)
    except (OSError, ValueError, SystemError) as error:
        raise InvalidImage(
            f"expected a picture that can be encoded, got {image.mode} {image.size}: {error}"
        ) from error
    return buffer.getvalue()
