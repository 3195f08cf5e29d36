"""Strips an encoded picture of its metadata: text, profiles, thumbnails, orientation.

Decoders refuse pictures whose metadata is broken though the pixels are whole. Browsers and OpenCV
show them, so fovea accepts them: such a picture is decoded once more from its pixels alone.
"""

from __future__ import annotations

import struct

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8"
EXIF_HEADER = b"Exif\0\0"
# Length, type and checksum of a PNG chunk.
_CHUNK_BYTES = 12
_SCAN = 0xDA
# APP0 (JFIF) and APP14 (Adobe) define how a JPEG's colours are meant.
_COLOUR_SEGMENTS = (0xE0, 0xEE)
_APP_SEGMENTS, _COMMENT = range(0xE0, 0xF0), 0xFE


def pixels_only(data: bytes) -> bytes:
    """The same PNG or JPEG without metadata; other or unreadable data is returned as it is.

    The alpha of a palette is dropped too, as for all pictures.
    """
    if data.startswith(PNG_SIGNATURE):
        return _png(data)
    return _jpeg(data) if data.startswith(JPEG_START) else data


def _png(data: bytes) -> bytes:
    """Only the critical chunks, whose names begin with a capital (PNG specification, 5.4)."""
    kept, at = [PNG_SIGNATURE], len(PNG_SIGNATURE)
    while at + _CHUNK_BYTES <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + _CHUNK_BYTES + length
        if data[at + 4 : at + 5].isupper():
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _jpeg(data: bytes) -> bytes:
    """All segments up to the first scan except APPn and comments, then the rest as it is."""
    kept, at = [JPEG_START], len(JPEG_START)
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        (length,) = struct.unpack_from(">H", data, at + 2)
        marker, end = data[at + 1], at + 2 + length
        dropped = marker == _COMMENT or marker in _APP_SEGMENTS
        if marker in _COLOUR_SEGMENTS or not dropped:
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])
