"""SAM: the mask of what a point or a box means (`fovea.prompts` says what those are)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fovea import images, masks
from fovea.geometry import Geometry
from fovea.roles import (
    IOU_SCORES,
    LOW_RES_MASKS,
    ORIGINAL_SIZE,
    PIXEL_VALUES,
    POINT_COORDS,
    POINT_LABELS,
    VALID_HW,
    Promptable,
)
from fovea.specs import ModelSpec, Span, TensorSpec, network_spec

MASK_THRESHOLD = 0.0
# A mask of a large picture is made in strips of about so many pixels.
STRIP_PIXELS = 4_000_000


@dataclass(frozen=True)
class SamSpec:
    """What a SAM checkpoint fixes.

    image_size: edge of the square input in pixels. embedding_channels, embedding_edge: shape of
    the image embedding. mask_edge: edge of low_res_masks.
    resample: Pillow's code of the filter.
    """

    image_size: int
    embedding_channels: int
    embedding_edge: int
    mask_edge: int
    resample: int = int(images.BILINEAR)


class Sam(Promptable[SamSpec]):
    """The encoder sees the picture alone, so that its answer serves any number of prompts."""

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

    @property
    def embeddings(self) -> tuple[TensorSpec, ...]:
        """What the encoder gives of a picture and the decoder takes."""
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

    def encode_mask(self, mask: NDArray[np.float32], original_hw: tuple[int, int]) -> bytes:
        return masks.encode_columns(mask_columns(mask, original_hw, self.spec.image_size))


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
    """As `upsample`, in strips of whole columns, bool [W_i, H] each, of about `strip_pixels`.

    As transformers' `post_process_masks`: bilinear to the input square, padding cut off,
    bilinear to the original size, threshold. OpenCV's bilinear equals torch's (half-pixel
    centres, no antialias) and works along the rows first, so rows and columns can be apart.
    """
    height, width = images.longest_edge_size(original_size_hw, image_size)
    original_height, original_width = original_size_hw
    square = _bilinear(low_res_mask, (image_size, image_size))
    columns = _bilinear(square[:height, :width], (height, original_width)).T
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
