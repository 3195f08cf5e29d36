"""SAM: the mask of what a point or a box marks (see `fovea.prompts`)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fovea import everything, images, masks
from fovea.everything import CHUNK
from fovea.geometry import Geometry
from fovea.roles import (
    AREAS,
    GRID_POINTS,
    IOU_SCORES,
    LOW_RES_MASKS,
    MASK_BOXES,
    ORIGINAL_SIZE,
    PIXEL_VALUES,
    POINT_COORDS,
    POINT_LABELS,
    STABILITY,
    VALID_HW,
    Promptable,
)
from fovea.specs import ModelSpec, Span, TensorSpec, Tolerance, network_spec

MASK_THRESHOLD = 0.0
# segment-anything's default criteria for objects, for configs without any.
POINTS_PER_SIDE, IOU_THRESHOLD, STABILITY_THRESHOLD = 32, 0.88, 0.95
# Masks of a single point: the whole, a part and a subpart.
MASKS_PER_POINT = 3
# A mask of a large picture is made in strips of about this many pixels.
STRIP_PIXELS = 4_000_000


@dataclass(frozen=True)
class SamSpec:
    """What a SAM checkpoint fixes.

    image_size: edge of the square input in pixels. embedding_channels, embedding_edge: shape of
    the image embedding. mask_edge: edge of low_res_masks.
    resample: Pillow's code of the filter. points_per_side, iou_threshold, stability_threshold,
    min_piece: defaults of `fovea.everything.Settings`.
    """

    image_size: int
    embedding_channels: int
    embedding_edge: int
    mask_edge: int
    resample: int = int(images.BILINEAR)
    points_per_side: int = POINTS_PER_SIDE
    iou_threshold: float = IOU_THRESHOLD
    stability_threshold: float = STABILITY_THRESHOLD
    min_piece: float = 0.0


class Sam(Promptable[SamSpec]):
    """The encoder sees only the picture, so its answer serves any number of prompts."""

    Spec = SamSpec

    @property
    def geometry(self) -> Geometry:
        edge = self.spec.image_size
        return Geometry(
            rule="longest_edge",
            edges=(edge,),
            output_hw=(edge, edge),
            resample=self.spec.resample,
        )

    def frame_hw(self, original_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width of what the canvas covers, in pixels of the original picture."""
        return max(original_hw), max(original_hw)

    @property
    def embeddings(self) -> tuple[TensorSpec, ...]:
        """The encoder's outputs, which the decoder takes."""
        spec = self.spec
        shape = (spec.embedding_channels, spec.embedding_edge, spec.embedding_edge)
        return (TensorSpec("image_embeddings", "FP32", shape),)

    @property
    def image_network(self) -> ModelSpec:
        return network_spec(
            self.network_name("image_encoder"),
            inputs=(
                TensorSpec(PIXEL_VALUES, "UINT8", (3, *self.geometry.output_hw)),
                TensorSpec(VALID_HW, "INT32", (2,)),
            ),
            outputs=self.embeddings,
            max_batch_size=8,
        )

    @property
    def decoder(self) -> ModelSpec:
        edge = self.spec.mask_edge
        prompts, points = Span(1, 1, limit="prompts"), Span(2, 2, limit="points")
        return network_spec(
            self.network_name("mask_decoder"),
            inputs=(
                *self.embeddings,
                POINT_COORDS,
                POINT_LABELS,
                TensorSpec(VALID_HW, "INT32", (2,)),
                ORIGINAL_SIZE,
            ),
            outputs=(
                TensorSpec(IOU_SCORES, "FP32", (-1,)),
                TensorSpec(LOW_RES_MASKS, "FP32", (-1, edge, edge)),
            ),
            max_batch_size=8,
            spans=((POINT_COORDS.name, (prompts, points)), (POINT_LABELS.name, (prompts, points))),
        )

    @property
    def grid_decoder(self) -> ModelSpec:
        edge, each = self.spec.mask_edge, MASKS_PER_POINT
        return network_spec(
            self.network_name("grid_decoder"),
            inputs=(
                *self.embeddings,
                GRID_POINTS,
                TensorSpec(VALID_HW, "INT32", (2,)),
                ORIGINAL_SIZE,
            ),
            outputs=(
                TensorSpec(IOU_SCORES, "FP32", (-1, each)),
                TensorSpec(STABILITY, "FP32", (-1, each)),
                TensorSpec(AREAS, "FP32", (-1, each)),
                TensorSpec(MASK_BOXES, "FP32", (-1, each, 4)),
                TensorSpec(LOW_RES_MASKS, "FP32", (-1, each, edge, edge)),
            ),
            # A chunk is a batch by itself: 64 maps of 32 x 256 x 256 take half a gigabyte.
            max_batch_size=2,
            spans=((GRID_POINTS.name, (Span(1, CHUNK, CHUNK),)),),
            # A pixel at a threshold may fall to either side, and a box may begin one pixel off.
            tolerance=Tolerance(difference=1e-3, rows=0.98),
        )

    def encode_mask(self, mask: NDArray[np.float32], original_hw: tuple[int, int]) -> bytes:
        return masks.encode_columns(mask_columns(mask, original_hw, self.spec.image_size))

    def without_specks(
        self, mask: NDArray[np.float32], original_hw: tuple[int, int], min_piece: float
    ) -> NDArray[np.float32]:
        (height, width), (rows, columns) = self.frame_hw(original_hw), original_hw
        covered = math.ceil(len(mask) * rows / height), math.ceil(len(mask) * columns / width)
        return everything.without_specks(mask, covered, min_piece)

    def mask_within(
        self,
        mask: NDArray[np.float32],
        original_hw: tuple[int, int],
        square: tuple[float, float, float, float],
        edge: int,
    ) -> NDArray[np.bool_]:
        left, top, right, bottom = square
        columns, rows = _places(left, right, edge), _places(top, bottom, edge)
        size, (height, width) = len(mask), self.frame_hw(original_hw)
        down = _bilinear_weights(rows * (size / height), size)
        across = _bilinear_weights(columns * (size / width), size)
        within = np.outer(_are_within(rows, original_hw[0]), _are_within(columns, original_hw[1]))
        drawn: NDArray[np.bool_] = (down @ mask @ across.T > MASK_THRESHOLD) & within
        return drawn


def _places(start: float, end: float, count: int) -> NDArray[np.float64]:
    """The centres of `count` equal parts."""
    return start + (np.arange(count) + 0.5) * ((end - start) / count)


def _are_within(places: NDArray[np.float64], length: int) -> NDArray[np.bool_]:
    return (places >= 0) & (places <= length)


def _bilinear_weights(places: NDArray[np.float64], edge: int) -> NDArray[np.float32]:
    """The weights of `edge` pixels at places from 0 to `edge`: float32 [len(places), edge]."""
    at = np.clip(places - 0.5, 0, edge - 1)
    distances: NDArray[np.float32] = np.abs(at[:, None] - np.arange(edge)).astype(np.float32)
    return np.maximum(1 - distances, 0)


def upsample(
    low_res_mask: NDArray[np.float32], original_size_hw: tuple[int, int], image_size: int
) -> NDArray[np.bool_]:
    """Logits [M, M] of the padded square as a mask of the picture, bool [H, W]."""
    return np.concatenate(list(mask_columns(low_res_mask, original_size_hw, image_size))).T


def mask_columns(
    low_res_mask: NDArray[np.float32],
    original_size_hw: tuple[int, int],
    image_size: int,
    *,
    strip_pixels: int = STRIP_PIXELS,
) -> Iterator[NDArray[np.bool_]]:
    """`upsample` in strips of whole columns, bool [W_i, H] each, of about `strip_pixels`.

    Like transformers' `post_process_masks` of SAM: bilinear to the input square, padding cut off,
    bilinear to the original size, threshold.
    """
    height, width = images.longest_edge_size(original_size_hw, image_size)
    square = _bilinear(low_res_mask, (image_size, image_size))
    return stretched_columns(square[:height, :width], original_size_hw, strip_pixels=strip_pixels)


def stretched_columns(
    logits: NDArray[np.float32],
    original_size_hw: tuple[int, int],
    *,
    strip_pixels: int = STRIP_PIXELS,
) -> Iterator[NDArray[np.bool_]]:
    """Logits [h, w] of the picture, bilinear to its size, as strips of a mask: bool [W_i, H] each.

    OpenCV's bilinear equals torch's (half-pixel centres, no antialias) and works along the rows
    first, so rows and columns can be done apart.
    """
    original_height, original_width = original_size_hw
    columns = _bilinear(logits, (len(logits), original_width)).T
    step = max(1, strip_pixels // original_height)
    for start in range(0, original_width, step):
        strip = np.ascontiguousarray(columns[start : start + step])
        if (strip > MASK_THRESHOLD).any():
            yield _bilinear(strip, (len(strip), original_height)) > MASK_THRESHOLD
        else:
            yield np.zeros((len(strip), original_height), np.bool_)


def _bilinear(values: NDArray[np.float32], size_hw: tuple[int, int]) -> NDArray[np.float32]:
    resized = cv2.resize(values, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float32)
