"""Masks as COCO run-length encoding: small on the wire, exact.

The format is pycocotools': runs down the columns, zeros first, as differences to the run two
before, in 5-bit groups with a continuation bit, offset by ASCII 48.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def encode_rle(mask: NDArray[np.bool_]) -> bytes:
    """COCO compressed counts of a mask, bool [H, W]."""
    return encode_columns([np.asarray(mask, np.bool_).T])


def encode_columns(strips: Iterable[NDArray[np.bool_]]) -> bytes:
    """COCO compressed counts of a mask that comes in strips of whole columns, bool [W_i, H] each.

    So the whole mask of a large picture is never in memory.
    """
    return _compress(_run_lengths(strips))


def encode_spans(starts: NDArray[np.int64], ends: NDArray[np.int64], pixels: int) -> bytes:
    """COCO compressed counts of a mask of `pixels` pixels, set from starts[i] up to ends[i].

    The spans are places down the columns, in order and apart from each other.
    """
    bounds = np.stack([starts, ends], axis=1).reshape(-1)
    last = [] if len(ends) and ends[-1] == pixels else [pixels]
    return _compress(np.diff(np.concatenate([[0], bounds, last]).astype(np.int64)))


def decode_rle(counts: bytes, size_hw: tuple[int, int]) -> NDArray[np.bool_]:
    """bool [H, W] of COCO compressed counts; ValueError if they do not fill `size_hw`."""
    runs = _decompress(counts)
    height, width = size_hw
    if (runs < 0).any() or int(runs.sum()) != height * width:
        raise ValueError(f"expected runs of {height * width} pixels, got {int(runs.sum())}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def rle_area(counts: bytes) -> int:
    """Number of pixels of the mask behind COCO compressed counts."""
    return int(_decompress(counts)[1::2].sum())


def rle_box(counts: bytes, size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """The smallest box around the mask behind COCO compressed counts: xyxy, ends exclusive.

    Zeros for an empty mask.
    """
    height = size_hw[0]
    ends = np.cumsum(_decompress(counts))
    first, last = ends[:-1:2], ends[1::2] - 1
    if not len(first):
        return 0, 0, 0, 0
    # A run that crosses the end of a column covers all rows there.
    over = bool((first // height != last // height).any())
    top, bottom = (0, height - 1) if over else ((first % height).min(), (last % height).max())
    return int(first[0] // height), int(top), int(last[-1] // height) + 1, int(bottom) + 1


def _run_lengths(strips: Iterable[NDArray[np.bool_]]) -> NDArray[np.int64]:
    """Lengths of the runs, zeros first: 0 if the first pixel is set."""
    bounds: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
    size, last = 0, False
    for strip in strips:
        pixels = strip.reshape(-1)
        if pixels.size == 0:
            continue
        if bool(pixels[0]) != last:
            bounds.append(np.array([size]))
        bounds.append(np.flatnonzero(pixels[1:] != pixels[:-1]) + 1 + size)
        size, last = size + pixels.size, bool(pixels[-1])
    return np.diff(np.concatenate([*bounds, [size]]))


def _compress(runs: NDArray[np.int64]) -> bytes:
    rest = runs.copy()
    rest[3:] -= runs[1:-2]
    groups, more = [], np.ones(len(rest), np.bool_)
    written = []
    while more.any():
        written.append(more)
        group = rest & 0x1F
        rest = rest >> 5
        more = more & (rest != np.where(group & 0x10, -1, 0))
        groups.append((np.where(more, group | 0x20, group) + 48).astype(np.uint8))
    if not groups:
        return b""
    return np.stack(groups, axis=1)[np.stack(written, axis=1)].tobytes()


def _decompress(counts: bytes) -> NDArray[np.int64]:
    runs: list[int] = []
    value, shift = 0, 0
    for byte in counts:
        group = byte - 48
        if not 0 <= group < 64 or shift > 40:
            raise ValueError(f"byte {byte} is not of COCO's compressed counts")
        value |= (group & 0x1F) << shift
        shift += 5
        if not group & 0x20:
            if group & 0x10:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value, shift = 0, 0
    return np.array(runs, np.int64)
