"""OWLv2: where in the picture are the things that are named? Each label is a query of its own.

The picture's network knows no labels: it gives every patch a vector, a box, and how its cosines
become logits. So labels are embedded once, as CLIP's are, and meet the patches in numpy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fovea import boxes
from fovea.grounding_dino import Detections
from fovea.images import Picture
from fovea.padded_square import resize_padded_square
from fovea.specs import ModelSpec, Queue, TensorSpec
from fovea.tokenizer import FixedLengthTexts

IMAGE_ENCODER = "owlv2_image_encoder"
TEXT_ENCODER = "owlv2_text_encoder"

# Around the tokens of a text: its start and its end.
SPECIAL_TOKENS = 2


@dataclass(frozen=True)
class Owlv2Spec:
    """What an OWLv2 checkpoint fixes.

    image_size: edge of the padded square in pixels. mean, std: of RGB in [0, 1].
    num_queries: patches, each with a box. embed_dim: of the vectors of patches and labels.
    text_length: tokens, all labels are padded to it.
    box_threshold: default of the score for a box.
    nms_iou: boxes that overlap a better one by more are dropped.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    num_queries: int
    embed_dim: int
    text_length: int
    pad_token_id: int
    box_threshold: float
    nms_iou: float = 0.7


def image_encoder(spec: Owlv2Spec, *, max_batch_size: int, queue: Queue) -> ModelSpec:
    """pixel_values uint8 [3, S, S] -> what each of Q patches says, all float32.

    class_embeds [Q, D] of length 1; logit_shift, logit_scale [Q]: see `label_logits`; pred_boxes
    [Q, 4], boxes_cxcywh as fractions of the padded square; objectness_logits [Q], of any thing.
    """
    queries = spec.num_queries
    return ModelSpec(
        name=IMAGE_ENCODER,
        backend="onnxruntime",
        inputs=(TensorSpec("pixel_values", "UINT8", (3, spec.image_size, spec.image_size)),),
        outputs=(
            TensorSpec("class_embeds", "FP32", (queries, spec.embed_dim)),
            TensorSpec("logit_shift", "FP32", (queries,)),
            TensorSpec("logit_scale", "FP32", (queries,)),
            TensorSpec("pred_boxes", "FP32", (queries, 4)),
            TensorSpec("objectness_logits", "FP32", (queries,)),
        ),
        max_batch_size=max_batch_size,
        queue=queue,
        instance_kind="KIND_AUTO",
        warmup=True,
    )


def text_encoder(spec: Owlv2Spec, *, max_batch_size: int, queue: Queue) -> ModelSpec:
    """input_ids, attention_mask int64 [T] -> query_embeds float32 [D] of length 1."""
    return replace(
        image_encoder(spec, max_batch_size=max_batch_size, queue=queue),
        name=TEXT_ENCODER,
        inputs=(
            TensorSpec("input_ids", "INT64", (spec.text_length,)),
            TensorSpec("attention_mask", "INT64", (spec.text_length,)),
        ),
        outputs=(TensorSpec("query_embeds", "FP32", (spec.embed_dim,)),),
    )


def preprocess(picture: Picture, spec: Owlv2Spec) -> NDArray[np.uint8]:
    """uint8 [3, S, S]: padded bottom and right with black to a square, then resized."""
    resized = resize_padded_square(picture.pixels, spec.image_size)
    return np.ascontiguousarray(resized.transpose(2, 0, 1))


def label_logits(
    class_embeds: NDArray[np.float32],
    logit_shift: NDArray[np.float32],
    logit_scale: NDArray[np.float32],
    query_embeds: NDArray[np.float32],
) -> NDArray[np.float32]:
    """How much each patch is of each label: [Q, D], [Q], [Q], [L, D] -> float32 [Q, L].

    Formula: transformers' `Owlv2ClassPredictionHead`.
    """
    cosines = class_embeds @ query_embeds.T
    return np.asarray((cosines + logit_shift[:, None]) * logit_scale[:, None], np.float32)


def select_boxes(
    logits: NDArray[np.float32],
    pred_boxes: NDArray[np.float32],
    original_size_hw: tuple[int, int],
    *,
    box_threshold: float,
    nms_iou: float,
    max_boxes: int,
) -> Detections:
    """The boxes above `box_threshold`, each named by its most probable label.

    logits [Q, L], pred_boxes [Q, 4] cxcywh of the padded square. As in transformers'
    `post_process_grounded_object_detection`, a box's score is the largest sigmoid of its labels;
    besides, boxes are clipped to the picture, those wholly in the padding are dropped, and boxes
    that overlap a better one are, too. `probabilities` of the answer are those of the L labels.
    """
    probabilities = np.asarray(1 / (1 + np.exp(-logits)), np.float32)
    scores = probabilities.max(axis=1)
    square = max(original_size_hw)
    inside = boxes.clip(boxes.to_xyxy(pred_boxes, (square, square)), original_size_hw)
    kept = np.flatnonzero((scores > box_threshold) & (boxes.area(inside) > 0))
    best = kept[boxes.non_maximum_suppression(inside[kept], scores[kept], nms_iou)[:max_boxes]]
    return Detections(
        boxes_xyxy=inside[best],
        scores=scores[best],
        label_indices=probabilities[best].argmax(axis=1).astype(np.int32),
        probabilities=probabilities[best],
    )


class TextTokens(FixedLengthTexts):
    """The checkpoint's tokenizer.json, padded to the text length; longer texts are refused."""

    def __init__(self, path: Path, spec: Owlv2Spec) -> None:
        super().__init__(path, spec.pad_token_id, spec.text_length, SPECIAL_TOKENS)
