"""Label maps: which of many maps is the largest at each pixel of the original picture.

Networks answer in a small frame, a map for each class or query, and pictures may be large: 150
classes of 64 million pixels would be 38 GB. So the maps are enlarged in tiles, and in each tile
only those that can win there: bilinear values lie between the smallest and the largest of the
pixels that they are made of.

A label map is uint16 [H, W] whose columns are contiguous in memory, like COCO's runs.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fovea import masks

# Edge of a tile, in pixels of the original picture (about).
TILE = 64
# The fastest level compresses zeros just as well.
PNG_COMPRESS_LEVEL = 1

Floats = NDArray[np.float32]
LabelMap = NDArray[np.uint16]


@dataclass(frozen=True)
class _Axis:
    """Where the pixels of one edge come from: lower + part * (upper - lower).

    Like `torch.nn.functional.interpolate`, bilinear, align_corners=False, in its float32.
    """

    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    part: Floats

    @classmethod
    def of(cls, source: int, target: int) -> _Axis:
        """An edge of `source` pixels, enlarged or shrunk to `target`."""
        half = np.float32(0.5)
        places = (np.arange(target, dtype=np.float32) + half) * np.float32(source / target) - half
        places = places.clip(0, source - 1)
        lower = places.astype(np.int64)
        return cls(lower, np.minimum(lower + 1, source - 1), places - lower.astype(np.float32))

    def cut(self, start: int, stop: int) -> tuple[_Axis, slice]:
        """Only these pixels, and the span of source pixels that they are made of."""
        span = slice(int(self.lower[start]), int(self.upper[stop - 1]) + 1)
        lower, upper = self.lower[start:stop] - span.start, self.upper[start:stop] - span.start
        return _Axis(lower, upper, self.part[start:stop]), span


@dataclass(frozen=True)
class _Tile:
    """Pixels of the original picture: `place` of their rows and columns, and their sources.

    source: float32 [C, h, w], the part of the maps that they are made of.
    """

    place: tuple[slice, slice]
    rows: _Axis
    columns: _Axis
    source: Floats

    @property
    def pixels(self) -> int:
        return len(self.rows.lower) * len(self.columns.lower)

    def bounds(self) -> tuple[Floats, Floats]:
        """The least and the greatest value of each map, [C] each."""
        flat = self.source.reshape(len(self.source), -1)
        return flat.min(axis=1), flat.max(axis=1)

    def enlarged(self, chosen: NDArray[np.int64]) -> Iterator[Floats]:
        """The chosen maps in the tile, float32 [rows, columns] each."""
        rows, columns, source = self.rows, self.columns, self.source[chosen]
        left, right = source[..., columns.lower], source[..., columns.upper]
        wide = left * (1 - columns.part) + right * columns.part
        part = rows.part[:, None]
        for one in wide:
            yield one[rows.lower] * (1 - part) + one[rows.upper] * part


def _tiles(maps: Floats, size_hw: tuple[int, int]) -> Iterator[_Tile]:
    """All of a picture of `size_hw`, in tiles of about TILE * TILE pixels."""
    height, width = size_hw
    rows, columns = _Axis.of(maps.shape[1], height), _Axis.of(maps.shape[2], width)
    down = min(height, max(TILE, TILE * TILE // width))
    across = max(TILE, TILE * TILE // down)
    for left in range(0, width, across):
        right = min(left + across, width)
        in_columns, source_columns = columns.cut(left, right)
        for top in range(0, height, down):
            bottom = min(top + down, height)
            in_rows, source_rows = rows.cut(top, bottom)
            source = maps[:, source_rows, source_columns]
            place = (slice(top, bottom), slice(left, right))
            yield _Tile(place, in_rows, in_columns, source)


def largest(maps: Floats, size_hw: tuple[int, int]) -> LabelMap:
    """The index of the largest map at each pixel, the first of equal ones.

    maps: float32 [C, h, w], resized bilinearly to `size_hw`.
    """
    found = np.empty(size_hw, np.uint16, order="F")
    for tile in _tiles(maps, size_hw):
        least, most = tile.bounds()
        chosen = np.flatnonzero(most >= least.max())
        if len(chosen) == 1:
            found[tile.place] = chosen[0]
            continue
        top = np.full((len(tile.rows.lower), len(tile.columns.lower)), -np.inf, np.float32)
        label = np.zeros(top.shape, np.uint16)
        for index, values in zip(chosen, tile.enlarged(chosen), strict=True):
            better = values > top
            np.copyto(top, values, where=better)
            label[better] = index
        found[tile.place] = label
    return found


def count_at_least(maps: Floats, size_hw: tuple[int, int], threshold: float) -> NDArray[np.int64]:
    """How many pixels of each map reach the threshold, [C], resized as in `largest`."""
    counts = np.zeros(len(maps), np.int64)
    for tile in _tiles(maps, size_hw):
        least, most = tile.bounds()
        everywhere = least >= threshold
        counts[everywhere] += tile.pixels
        somewhere = np.flatnonzero((most >= threshold) & ~everywhere)
        for index, values in zip(somewhere, tile.enlarged(somewhere), strict=True):
            counts[index] += np.count_nonzero(values >= threshold)
    return counts


@dataclass(frozen=True)
class Runs:
    """A label map as runs of equal labels down its columns.

    Attributes:
        starts: int64 [R], places of the first pixels. labels: uint16 [R].
        pixels: of the whole map.
    """

    starts: NDArray[np.int64]
    labels: NDArray[np.uint16]
    pixels: int

    @classmethod
    def of(cls, label_map: LabelMap) -> Runs:
        flat = label_map.reshape(-1, order="F")
        starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
        return cls(starts, flat[starts], flat.size)

    @property
    def ends(self) -> NDArray[np.int64]:
        return np.append(self.starts[1:], self.pixels)

    def areas(self, labels: int) -> NDArray[np.int64]:
        """Pixels of each label below `labels`."""
        lengths = self.ends - self.starts
        counted = np.bincount(self.labels, weights=lengths, minlength=labels)
        return counted.astype(np.int64)

    def encode(self, label: int) -> bytes:
        """COCO compressed counts of the mask of one label."""
        own = self.labels == label
        return masks.encode_spans(self.starts[own], self.ends[own], self.pixels)


def encode_png(label_map: LabelMap) -> bytes:
    """A grey PNG of the labels themselves, in 8 bits a pixel, or 16 if one is above 255."""
    small = int(label_map.max()) < 256
    file = io.BytesIO()
    pixels = np.ascontiguousarray(label_map, np.uint8 if small else np.uint16)
    Image.fromarray(pixels).save(file, "PNG", compress_level=PNG_COMPRESS_LEVEL)
    return file.getvalue()
