"""SAM: the mask of what a point or a box means (`fovea.prompts` says what those are)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fovea import images
from fovea.images import Picture
from fovea.prompts import PADDING
from fovea.specs import ModelSpec, Queue, TensorSpec

IMAGE_ENCODER = "sam_image_encoder"
MASK_DECODER = "sam_mask_decoder"

MASKS_PER_PROMPT = 4
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
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    embedding_channels: int
    embedding_edge: int
    mask_edge: int
    resample: int = int(images.BILINEAR)


def image_encoder(spec: SamSpec, *, max_batch_size: int, queue: Queue) -> ModelSpec:
    """pixel_values uint8 [3, S, S], valid_hw int32 [2] -> image_embeddings float32 [C, E, E]."""
    return ModelSpec(
        name=IMAGE_ENCODER,
        backend="onnxruntime",
        inputs=(
            TensorSpec("pixel_values", "UINT8", (3, spec.image_size, spec.image_size)),
            TensorSpec("valid_hw", "INT32", (2,)),
        ),
        outputs=(embedding_tensor(spec),),
        max_batch_size=max_batch_size,
        queue=queue,
        instance_kind="KIND_AUTO",
        warmup=True,
    )


def mask_decoder(spec: SamSpec, *, max_batch_size: int, queue: Queue) -> ModelSpec:
    """An embedding and P prompts of K points -> iou_scores [P, 4], low_res_masks [P, 4, M, M].

    point_coords are in the frame of the resized picture (0 .. image_size).
    """
    edge = spec.mask_edge
    return ModelSpec(
        name=MASK_DECODER,
        backend="onnxruntime",
        inputs=(
            embedding_tensor(spec),
            TensorSpec("point_coords", "FP32", (-1, -1, 2)),
            TensorSpec("point_labels", "INT32", (-1, -1)),
        ),
        outputs=(
            TensorSpec("iou_scores", "FP32", (-1, MASKS_PER_PROMPT)),
            TensorSpec("low_res_masks", "FP32", (-1, MASKS_PER_PROMPT, edge, edge)),
        ),
        max_batch_size=max_batch_size,
        queue=queue,
        instance_kind="KIND_AUTO",
        warmup=True,
        warmup_shapes=(("point_coords", (1, 2, 2)), ("point_labels", (1, 2))),
    )


def embedding_tensor(spec: SamSpec) -> TensorSpec:
    """The image embedding, float32 [C, E, E]."""
    shape = (spec.embedding_channels, spec.embedding_edge, spec.embedding_edge)
    return TensorSpec("image_embeddings", "FP32", shape)


def resized_hw(size_hw: tuple[int, int], spec: SamSpec) -> tuple[int, int]:
    """The size (h, w) that a picture of `size_hw` is resized to."""
    return images.longest_edge_size(size_hw, spec.image_size)


def preprocess(picture: Picture, spec: SamSpec) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """pixel_values uint8 [3, S, S], picture at top left, and valid_hw int32 [2]."""
    resized = picture.resize(resized_hw(picture.hw, spec), images.Resampling(spec.resample))
    pixels = images.pad_to_canvas(resized, (spec.image_size, spec.image_size))
    return pixels, np.array((resized.height, resized.width), np.int32)


def to_input_frame(
    point_coords: NDArray[np.float32], original_size_hw: tuple[int, int], spec: SamSpec
) -> NDArray[np.float32]:
    """Points [..., 2] of the original picture in the frame of the resized one.

    Formula: segment-anything `ResizeLongestSide.apply_coords`.
    """
    height, width = original_size_hw
    new_height, new_width = images.longest_edge_size(original_size_hw, spec.image_size)
    scale = np.array([new_width / width, new_height / height])
    return np.asarray(point_coords * scale, np.float32)


def choose_masks(
    low_res_masks: NDArray[np.float32],
    iou_scores: NDArray[np.float32],
    point_labels: NDArray[np.int32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One of the four masks per prompt, logits [P, M, M], with its score (predicted IoU) [P].

    A prompt of a box or of several points means one thing: mask 0. A single point is ambiguous:
    the best scored of masks 1 to 3 (segment-anything, `multimask_output`). Padding drops out.
    """
    real = point_labels != PADDING
    prompts = np.flatnonzero(real.any(axis=1))
    ambiguous = real[prompts].sum(axis=1) == 1
    choices = np.where(ambiguous, 1 + iou_scores[prompts, 1:].argmax(axis=1), 0)
    return low_res_masks[prompts, choices], iou_scores[prompts, choices]


def upsample(
    low_res_mask: NDArray[np.float32], original_size_hw: tuple[int, int], spec: SamSpec
) -> NDArray[np.bool_]:
    """Logits [M, M] of the padded square as a mask of the picture, bool [H, W]."""
    return np.concatenate(list(mask_columns(low_res_mask, original_size_hw, spec))).T


def mask_columns(
    low_res_mask: NDArray[np.float32],
    original_size_hw: tuple[int, int],
    spec: SamSpec,
    *,
    strip_pixels: int = STRIP_PIXELS,
) -> Iterator[NDArray[np.bool_]]:
    """As `upsample`, in strips of whole columns, bool [W_i, H] each, of about `strip_pixels`.

    As transformers' `post_process_masks`: bilinear to the input square, padding cut off,
    bilinear to the original size, threshold. OpenCV's bilinear equals torch's (half-pixel
    centres, no antialias) and works along the rows first, so rows and columns can be apart.
    """
    height, width = images.longest_edge_size(original_size_hw, spec.image_size)
    original_height, original_width = original_size_hw
    square = _bilinear(low_res_mask, (spec.image_size, spec.image_size))
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
