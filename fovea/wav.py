"""Reads and writes WAV files.

Formats: RIFF and WAVE as in Microsoft's "Multiple channel audio data and WAVE files": integers of 8
(unsigned), 16, 24 and 32 bits and floats of 32 and 64, little-endian, any number of channels.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fovea.errors import InvalidAudio
from fovea.limits import Limits

_INTEGERS, _FLOATS, _EXTENSIBLE = 1, 3, 0xFFFE
# Bytes of a sample -> its type; 24 bits become the upper ones of 32.
_INTEGER_TYPES = {1: "u1", 2: "<i2", 3: "<i4", 4: "<i4"}
_FLOAT_TYPES = {4: "<f4", 8: "<f8"}


@dataclass(frozen=True)
class Sound:
    """samples: float32 [channels, N]; integers are scaled to [-1, 1). rate: samples a second."""

    samples: NDArray[np.float32]
    rate: int


def read(data: bytes, limits: Limits) -> Sound:
    """The sound of a WAV file; raises InvalidAudio.

    A data chunk with a length beyond the file, as a stream writes it, ends with the file.
    """
    if len(data) > limits.image_bytes:
        raise InvalidAudio(f"expected at most {limits.image_bytes} bytes, got {len(data)}")
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise InvalidAudio(
            f"expected a WAV file, got {len(data)} bytes that begin with {data[:12]!r}"
        )
    chunks = _chunks(data)
    if len(chunks.get(b"fmt ", b"")) < 16 or b"data" not in chunks:
        raise InvalidAudio("expected a WAV file with a format and data, one of them is missing")
    form = bytes(chunks[b"fmt "])
    kind, channels, rate, _, _, bits = struct.unpack("<HHIIHH", form[:16])
    if kind == _EXTENSIBLE and len(form) >= 26:
        kind = int.from_bytes(form[24:26], "little")
    types = {_INTEGERS: _INTEGER_TYPES, _FLOATS: _FLOAT_TYPES}.get(kind, {})
    if bits % 8 or bits // 8 not in types or not channels or not rate:
        raise InvalidAudio(
            "expected PCM of 8, 16, 24 or 32 bits or floats of 32 or 64, got format "
            f"{kind} of {bits} bits, {channels} channels, {rate} samples a second"
        )
    samples = _samples(chunks[b"data"], bits // 8, np.dtype(types[bits // 8]), channels)
    if not np.isfinite(samples).all():
        raise InvalidAudio("expected finite samples, got NaN or infinity")
    return Sound(samples, rate)


def write(samples: NDArray[np.float32], rate: int) -> bytes:
    """A WAV file of 32-bit floats; samples: [N] or [channels, N]."""
    rows = np.atleast_2d(samples)
    data = np.ascontiguousarray(rows.T, "<f4").tobytes()
    frame = 4 * len(rows)
    form = struct.pack("<HHIIHH", _FLOATS, len(rows), rate, frame * rate, frame, 32)
    body = b"WAVE" + _chunk(b"fmt ", form) + _chunk(b"data", data)
    return _chunk(b"RIFF", body)


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content


def _chunks(data: bytes) -> dict[bytes, memoryview]:
    """The first chunk of each name."""
    found: dict[bytes, memoryview] = {}
    place = 12
    while place + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        found.setdefault(name, memoryview(data)[place + 8 : place + 8 + size])
        place += 8 + size + size % 2
    return found


def _samples(
    data: memoryview, width: int, kind: np.dtype[np.generic], channels: int
) -> NDArray[np.float32]:
    """float32 [channels, N]; width: bytes of a sample."""
    count = len(data) // (width * channels)
    raw = np.frombuffer(data, np.uint8, count * width * channels)
    if width == 3:
        raw = np.pad(raw.reshape(-1, 3), ((0, 0), (1, 0))).ravel()
    values = raw.view(kind).reshape(count, channels).T
    if kind.kind == "u":
        return (values.astype(np.float32) - 128) / 128
    if kind.kind == "i":
        return values.astype(np.float32) / np.float32(2 ** (8 * kind.itemsize - 1))
    with np.errstate(over="ignore"):  # too large values become infinite, which `read` refuses
        return values.astype(np.float32)
