"""GroundingDINO: where in the picture are the things that a caption names?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fovea import boxes, images
from fovea.images import Picture
from fovea.specs import ModelSpec, Queue, TensorSpec, Tolerance

NETWORK = "grounding_dino"

# Fixed in transformers' GroundingDinoModel, whatever the vocabulary: [CLS], [SEP], '.', '?'.
DELIMITER_IDS = (101, 102, 1012, 1029)

# In place of a label's index, for a token that is of no label.
NO_LABEL = -1

# Finite on the wire where transformers has -inf; its sigmoid is 0 all the same.
MASKED_LOGIT = -50.0


@dataclass(frozen=True)
class GroundingDinoSpec:
    """What a GroundingDINO checkpoint fixes.

    canvas_hw: the one size that pictures are zero-padded to: the exported graph fixes it, since
    Swin's windows are laid out when it is traced, and so all pictures batch.
    text_buckets: token counts that captions are padded to, ascending.
    box_threshold, text_threshold: defaults of the scores for a box and for the words it answers.
    nms_iou: boxes that overlap a better one by more are dropped.
    resample: Pillow's code of the filter.
    """

    shortest_edge: int
    longest_edge: int
    canvas_hw: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    text_buckets: tuple[int, ...]
    pad_token_id: int
    num_queries: int
    box_threshold: float
    text_threshold: float
    nms_iou: float = 0.7
    resample: int = int(images.BILINEAR)


@dataclass(frozen=True)
class Caption:
    """A tokenized caption of T tokens, as the network takes it.

    input_ids, attention_mask, position_ids: int64 [T]; text_self_attention_masks: bool [T, T].
    token_spans, for naming boxes: int32 [T, 3], the index of each token's label (-1: of none), and
    the characters [start, end) of its word in that label.
    """

    input_ids: NDArray[np.int64]
    attention_mask: NDArray[np.int64]
    position_ids: NDArray[np.int64]
    text_self_attention_masks: NDArray[np.bool_]
    token_spans: NDArray[np.int32]


@dataclass(frozen=True)
class Detections:
    """Boxes of one picture, best first: boxes_xyxy [N, 4] in original pixels, scores [N].

    label_indices: int32 [N], among those asked. probabilities: [N, T], of each token.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    label_indices: NDArray[np.int32]
    probabilities: NDArray[np.float32]


def network(spec: GroundingDinoSpec, *, max_batch_size: int, queue: Queue) -> ModelSpec:
    """A padded picture and a caption of T tokens -> logits [Q, T], pred_boxes [Q, 4].

    pred_boxes are boxes_cxcywh, fractions of the valid part of the picture. Logits of padding
    tokens are MASKED_LOGIT.
    """
    text_length = spec.text_buckets[0]
    return ModelSpec(
        name=NETWORK,
        backend="onnxruntime",
        inputs=(
            TensorSpec("pixel_values", "UINT8", (3, *spec.canvas_hw)),
            TensorSpec("valid_hw", "INT32", (2,)),
            TensorSpec("input_ids", "INT64", (-1,)),
            TensorSpec("attention_mask", "INT64", (-1,)),
            TensorSpec("position_ids", "INT64", (-1,)),
            TensorSpec("text_self_attention_masks", "BOOL", (-1, -1)),
        ),
        outputs=(
            TensorSpec("logits", "FP32", (spec.num_queries, -1)),
            TensorSpec("pred_boxes", "FP32", (spec.num_queries, 4)),
        ),
        max_batch_size=max_batch_size,
        queue=queue,
        instance_kind="KIND_AUTO",
        warmup=True,
        warmup_shapes=(
            ("input_ids", (text_length,)),
            ("attention_mask", (text_length,)),
            ("position_ids", (text_length,)),
            ("text_self_attention_masks", (text_length, text_length)),
        ),
        tolerance=Tolerance(difference=1e-3, rows=0.98),
    )


def resized_hw(size_hw: tuple[int, int], spec: GroundingDinoSpec) -> tuple[int, int]:
    """The size (h, w) that a picture of `size_hw` is resized to."""
    return images.aspect_size(size_hw, spec.shortest_edge, spec.longest_edge)


def preprocess(
    picture: Picture, spec: GroundingDinoSpec
) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """pixel_values uint8 [3, H, W], picture at top left, and valid_hw int32 [2]."""
    resized = picture.resize(resized_hw(picture.hw, spec), images.Resampling(spec.resample))
    pixels = images.pad_to_canvas(resized, spec.canvas_hw)
    return pixels, np.array((resized.height, resized.width), np.int32)


def text_self_attention(
    input_ids: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which tokens see each other (only those of one phrase), and positions within phrases.

    input_ids [T] -> masks bool [T, T], position_ids int64 [T]. Equals transformers'
    `generate_masks_with_special_tokens_and_transfer_map`, whose operators ONNX lacks.
    """
    length = len(input_ids)
    masks = np.eye(length, dtype=np.bool_)
    position_ids = np.zeros(length, np.int64)
    previous = -1
    for column in np.flatnonzero(np.isin(input_ids, DELIMITER_IDS)).tolist():
        phrase = slice(previous + 1, column + 1)
        if column not in (0, length - 1):
            masks[phrase, phrase] = True
            position_ids[phrase] = np.arange(column - previous)
        previous = column
    return masks, position_ids


def select_boxes(
    logits: NDArray[np.float32],
    pred_boxes: NDArray[np.float32],
    token_labels: NDArray[np.int32],
    original_size_hw: tuple[int, int],
    *,
    box_threshold: float,
    nms_iou: float,
    max_boxes: int,
) -> Detections:
    """The boxes above `box_threshold`, each named by its most probable label.

    logits [Q, T], pred_boxes [Q, 4] cxcywh, token_labels [T]: the index of each token's label, or
    NO_LABEL. A box's score is the largest of its token probabilities, as in transformers'
    `post_process_grounded_object_detection`, a label's the largest over the label's own tokens.
    So each box has a label that was asked, where transformers joins the tokens above its text
    threshold, of several labels or of none. Boxes are clipped to the picture.
    """
    probabilities = 1 / (1 + np.exp(-logits))
    scores = probabilities.max(axis=1)
    kept = np.flatnonzero(scores > box_threshold)
    kept_boxes = boxes.clip(boxes.to_xyxy(pred_boxes[kept], original_size_hw), original_size_hw)
    best = boxes.non_maximum_suppression(kept_boxes, scores[kept], nms_iou)[:max_boxes]
    return Detections(
        boxes_xyxy=kept_boxes[best],
        scores=scores[kept][best],
        label_indices=best_labels(probabilities[kept][best], token_labels),
        probabilities=probabilities[kept][best],
    )


def best_labels(
    probabilities: NDArray[np.float32], token_labels: NDArray[np.int32]
) -> NDArray[np.int32]:
    """The label that has each box's most probable token of a label: [N, T], [T] -> int32 [N].

    Of labels with equal scores, the first.
    """
    indices = np.unique(token_labels[token_labels != NO_LABEL])
    scores = np.stack(
        [probabilities[:, token_labels == index].max(axis=1) for index in indices], axis=1
    )
    best: NDArray[np.int32] = indices[scores.argmax(axis=1)]
    return best
