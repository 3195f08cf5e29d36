"""Converts sounds, grey pictures and IMU data into the server's form.

A sound's file is sent unchanged. Grey pictures become floats here: the values of PNGs and integer
arrays are divided by the largest one of their type, floats stay unchanged.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fovea import wav
from fovea.limits import Limits
from fovea.mel import RATE
from fovea_client.errors import (
    ImageTooLarge,
    InvalidAudio,
    InvalidImage,
    InvalidInput,
    InvalidTensor,
)

if TYPE_CHECKING:
    from PIL import Image

Encoded: TypeAlias = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview]
Sound: TypeAlias = Encoded | NDArray[np.floating[Any]]
Grey: TypeAlias = Union[Encoded, ArrayLike, "Image.Image"]
Motion: TypeAlias = Union[str, "os.PathLike[str]", ArrayLike]

Floats = NDArray[np.float32]
_DEEP = "I;16"


def encode_sound(sound: Sound) -> bytes:
    """A WAV file from a path, bytes, or floats [N] or [channels, N] at 16,000 a second.

    Raises InvalidAudio for a missing file or an array that is not a sound; the server checks bytes.
    """
    if isinstance(sound, (str, os.PathLike)):
        try:
            return Path(sound).read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise InvalidAudio(f"expected a WAV file, got {str(sound)!r}: {error}") from error
    if isinstance(sound, (bytes, bytearray, memoryview)):
        return bytes(sound)
    if not isinstance(sound, np.ndarray):
        raise InvalidAudio(f"expected a path, bytes or a numpy array, got {type(sound).__name__}")
    if sound.dtype.kind != "f" or sound.ndim not in (1, 2) or not sound.size:
        raise InvalidAudio(
            "expected floats [N] or [channels, N] within [-1, 1], "
            f"got {sound.dtype} {list(sound.shape)}"
        )
    return wav.write(sound.astype(np.float32), RATE)


def to_grey(name: str, picture: Grey) -> Floats:
    """float32 [H, W] from a grey PNG of 8 or 16 bits, a Pillow picture, or numbers.

    Raises InvalidImage for a file that is missing, in colour or not a PNG, and InvalidTensor for
    numbers that are not a picture.
    """
    from PIL import Image

    if isinstance(picture, Image.Image):
        return _of_pillow(name, picture)
    if isinstance(picture, (str, os.PathLike, bytes, bytearray, memoryview)):
        return _decode(name, picture)
    return _numbers(name, picture)


def to_motion(motion: Motion) -> Floats:
    """float32 [axes, N] from numbers or a .npy file; raises InvalidTensor."""
    if not isinstance(motion, (str, os.PathLike)):
        return _numbers("imu", motion)
    try:
        read = np.load(motion, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidTensor(
            f"imu: expected a .npy file of numbers, got {str(motion)!r}: {error}"
        ) from error
    return _numbers("imu", read)


def _decode(name: str, picture: Encoded) -> Floats:
    from PIL import Image

    file = picture if isinstance(picture, (str, os.PathLike)) else io.BytesIO(picture)
    try:
        with Image.open(file, formats=["PNG"]) as opened:
            if opened.width * opened.height > Limits().image_pixels:
                raise ImageTooLarge(
                    f"{name}: expected at most {Limits().image_pixels} pixels, "
                    f"got {opened.width}x{opened.height}"
                )
            return _of_pillow(name, opened)
    except InvalidInput:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidImage(f"{name}: expected a grey PNG: {error}") from error


def _of_pillow(name: str, picture: Image.Image) -> Floats:
    if picture.mode not in ("L", _DEEP, "I", "F"):
        raise InvalidImage(f"{name}: expected a grey picture of 8 or 16 bits, got {picture.mode}")
    pixels = np.asarray(picture)
    # Some versions of Pillow open PNGs of 16 bits as 32.
    return _numbers(name, pixels.astype(np.uint16) if picture.mode == "I" else pixels)


def _numbers(name: str, values: Any) -> Floats:
    try:
        array = np.asarray(values)
        floats = array.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidTensor(f"{name}: expected numbers, all of one shape: {error}") from error
    if array.ndim != 2 or not array.size:
        raise InvalidTensor(f"{name}: expected rows of numbers, got {list(array.shape)}")
    if array.dtype in (np.uint8, np.uint16):
        return floats / np.float32(np.iinfo(array.dtype).max)
    return floats
