"""SAM: the mask of what a point or a box means.

Prompts are points with labels, in pixels: 1 foreground, 0 background, 2 and 3 the top left and
bottom right corner of a box, -1 padding. A box is two points, a single point gets one padding
point, so both batch together. More padding is not neutral: it changes the mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fovea import images
from fovea.errors import InvalidPrompt
from fovea.limits import Limits
from fovea.specs import ModelSpec, Queue, TensorSpec

IMAGE_ENCODER = "sam_image_encoder"
MASK_DECODER = "sam_mask_decoder"

BACKGROUND, FOREGROUND, BOX_TOP_LEFT, BOX_BOTTOM_RIGHT, PADDING = 0, 1, 2, 3, -1
MASKS_PER_PROMPT = 4
MASK_THRESHOLD = 0.0


@dataclass(frozen=True)
class SamSpec:
    """What a SAM checkpoint fixes.

    image_size: edge of the square input in pixels. embedding_channels, embedding_edge: shape of
    the image embedding. mask_edge: edge of low_res_masks.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    embedding_channels: int
    embedding_edge: int
    mask_edge: int


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
        response_cache=True,
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


def preprocess(image: Image.Image, spec: SamSpec) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """pixel_values uint8 [3, S, S], picture at top left, and valid_hw int32 [2]."""
    valid_hw = images.longest_edge_size((image.height, image.width), spec.image_size)
    resized = images.resize(image, valid_hw, images.BILINEAR)
    pixels = images.pad_to_canvas(resized, (spec.image_size, spec.image_size))
    return pixels, np.array((resized.height, resized.width), np.int32)


def check_prompts(
    point_coords: NDArray[np.float32],
    point_labels: NDArray[np.int32],
    original_size_hw: tuple[int, int],
    limits: Limits,
) -> None:
    """Raise InvalidPrompt unless [P, K, 2] and [P, K] are points and boxes within the picture."""
    count, points = point_labels.shape
    if point_coords.shape != (count, points, 2):
        raise InvalidPrompt(
            f"expected point_coords [P, K, 2] and point_labels [P, K], "
            f"got {list(point_coords.shape)} and {list(point_labels.shape)}"
        )
    if not (1 <= count <= limits.prompts and 1 <= points <= limits.points):
        raise InvalidPrompt(
            f"expected 1 to {limits.prompts} prompts of 1 to {limits.points} points, "
            f"got {count} of {points}"
        )
    if not np.isin(point_labels, (-1, 0, 1, 2, 3)).all():
        raise InvalidPrompt(f"expected labels -1, 0, 1, 2 or 3, got {point_labels.tolist()}")
    if (point_labels == PADDING).all(axis=1).any():
        raise InvalidPrompt("expected a point or a box in each prompt, got only padding")
    real = point_labels != PADDING
    _check_inside(point_coords[real], original_size_hw)
    _check_corners(point_coords, point_labels)


def _check_inside(points_xy: NDArray[np.float32], original_size_hw: tuple[int, int]) -> None:
    height, width = original_size_hw
    if not np.isfinite(points_xy).all():
        raise InvalidPrompt(f"expected finite coordinates, got {points_xy.tolist()}")
    outside = (points_xy < 0).any(axis=1) | (points_xy > (width, height)).any(axis=1)
    if outside.any():
        raise InvalidPrompt(
            f"expected points within the picture of {width}x{height} pixels, "
            f"got {points_xy[outside][0].tolist()}"
        )


def _check_corners(point_coords: NDArray[np.float32], point_labels: NDArray[np.int32]) -> None:
    first, last = point_labels == BOX_TOP_LEFT, point_labels == BOX_BOTTOM_RIGHT
    corners = first.sum(axis=1)
    if (corners != last.sum(axis=1)).any() or (corners > 1).any():
        raise InvalidPrompt(
            f"expected labels 2 and 3 once each in a prompt with a box, got {point_labels.tolist()}"
        )
    if (point_coords[last] <= point_coords[first]).any():
        raise InvalidPrompt(
            "expected boxes with left < right and top < bottom, "
            f"got corners {point_coords[first].tolist()} and {point_coords[last].tolist()}"
        )


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


def box_prompts(boxes_xyxy: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Boxes [N, 4] as point_coords [N, 2, 2] and point_labels [N, 2] in the same frame."""
    labels = np.tile(np.array([BOX_TOP_LEFT, BOX_BOTTOM_RIGHT], np.int32), (len(boxes_xyxy), 1))
    return boxes_xyxy.reshape(-1, 2, 2).astype(np.float32), labels


def point_prompts(points_xy: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Points [N, 2], a prompt each, as point_coords [N, 2, 2] and point_labels [N, 2]."""
    coords = np.zeros((len(points_xy), 2, 2), np.float32)
    coords[:, 0] = points_xy
    labels = np.tile(np.array([FOREGROUND, PADDING], np.int32), (len(points_xy), 1))
    return coords, labels


def pad_points(
    point_coords: NDArray[np.float32], point_labels: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Prompts without a box get the one padding point that SAM was trained with.

    Prompts of a request all have K points; where none has a box or padding yet, K grows by 1.
    """
    if np.isin(point_labels, (BOX_TOP_LEFT, PADDING)).any():
        return point_coords, point_labels
    coords = np.pad(point_coords, ((0, 0), (0, 1), (0, 0)))
    return coords, np.pad(point_labels, ((0, 0), (0, 1)), constant_values=PADDING)


def pad_prompts(
    point_coords: NDArray[np.float32], point_labels: NDArray[np.int32]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Prompts up to the next power of two, so that requests batch; prompts don't interact.

    A padding prompt has only labels -1; `select_masks` drops it.
    """
    count = len(point_labels)
    target = 1 << max(0, count - 1).bit_length()
    coords = np.pad(point_coords, ((0, target - count), (0, 0), (0, 0)))
    labels = np.pad(point_labels, ((0, target - count), (0, 0)), constant_values=PADDING)
    return coords, labels


def select_masks(
    low_res_masks: NDArray[np.float32],
    iou_scores: NDArray[np.float32],
    point_labels: NDArray[np.int32],
    original_size_hw: tuple[int, int],
    spec: SamSpec,
) -> tuple[list[NDArray[np.bool_]], NDArray[np.float32]]:
    """One mask per prompt in original pixels, bool [H, W] each, with its score (predicted IoU).

    A prompt of a box or of several points means one thing: mask 0. A single point is ambiguous:
    the best scored of masks 1 to 3 (segment-anything, `multimask_output`).
    """
    masks: list[NDArray[np.bool_]] = []
    scores: list[float] = []
    for prompt in np.flatnonzero((point_labels != PADDING).any(axis=1)):
        ambiguous = (point_labels[prompt] != PADDING).sum() == 1
        choice = 1 + int(iou_scores[prompt, 1:].argmax()) if ambiguous else 0
        masks.append(upsample(low_res_masks[prompt, choice], original_size_hw, spec))
        scores.append(float(iou_scores[prompt, choice]))
    return masks, np.array(scores, np.float32)


def upsample(
    low_res_mask: NDArray[np.float32], original_size_hw: tuple[int, int], spec: SamSpec
) -> NDArray[np.bool_]:
    """Logits [M, M] of the padded square as a mask of the picture, bool [H, W].

    As transformers' `post_process_masks`: bilinear to the input square, padding cut off,
    bilinear to the original size, threshold. OpenCV's bilinear equals torch's (half-pixel
    centres, no antialias).
    """
    height, width = images.longest_edge_size(original_size_hw, spec.image_size)
    square = cv2.resize(
        low_res_mask, (spec.image_size, spec.image_size), interpolation=cv2.INTER_LINEAR
    )
    valid = square[:height, :width]
    original_height, original_width = original_size_hw
    full = cv2.resize(valid, (original_width, original_height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(full > MASK_THRESHOLD)
