"""GroundingDINO: finds the things that a caption names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fovea import boxes, images
from fovea.captions import NO_LABEL, CaptionWriter, words_of
from fovea.geometry import Geometry
from fovea.probabilities import sigmoid
from fovea.roles import (
    PIXEL_VALUES,
    TOKENIZER,
    VALID_HW,
    Arrays,
    Detections,
    OpenDetector,
    Selection,
)
from fovea.specs import ModelSpec, Span, TensorSpec, Tolerance, network_spec
from fovea.tokenizer import PaddedTokenizer


@dataclass(frozen=True)
class GroundingDinoSpec:
    """What a GroundingDINO checkpoint fixes.

    canvas_hw: the one size that pictures are zero-padded to. The exported graph fixes it, since
    Swin's windows are laid out during tracing; so all pictures batch.
    text_buckets: token counts that captions are padded to, ascending.
    box_threshold, text_threshold: default scores for a box and for the words that it answers.
    nms_iou: boxes that overlap a better one by more are dropped.
    resample: Pillow's code of the filter.
    """

    shortest_edge: int
    longest_edge: int
    canvas_hw: tuple[int, int]
    text_buckets: tuple[int, ...]
    pad_token_id: int
    num_queries: int
    box_threshold: float
    text_threshold: float
    nms_iou: float = 0.7
    resample: int = int(images.BILINEAR)


class GroundingDino(OpenDetector[GroundingDinoSpec]):
    """The network reads all labels as one caption together with the picture.

    pred_boxes are boxes_cxcywh, fractions of the valid part of the picture. Logits of padding
    tokens are MASKED_LOGIT.
    """

    Spec = GroundingDinoSpec

    @property
    def geometry(self) -> Geometry:
        return Geometry(
            rule="aspect",
            edges=(self.spec.shortest_edge, self.spec.longest_edge),
            output_hw=self.spec.canvas_hw,
            resample=self.spec.resample,
        )

    @property
    def image_network(self) -> ModelSpec:
        buckets, queries = self.spec.text_buckets, self.spec.num_queries
        text = Span(buckets[0], buckets[min(1, len(buckets) - 1)], buckets[-1])
        caption = self.text_tensors[:-1]
        return network_spec(
            self.name,
            inputs=(
                TensorSpec(PIXEL_VALUES, "UINT8", (3, *self.spec.canvas_hw)),
                TensorSpec(VALID_HW, "INT32", (2,)),
                *caption,
            ),
            outputs=(
                TensorSpec("logits", "FP32", (queries, -1)),
                TensorSpec("pred_boxes", "FP32", (queries, 4)),
            ),
            max_batch_size=8,
            spans=tuple((tensor.name, (text,) * len(tensor.shape)) for tensor in caption),
            tolerance=Tolerance(difference=1e-3, rows=0.98),
        )

    @property
    def text_tensors(self) -> tuple[TensorSpec, ...]:
        return (
            TensorSpec("input_ids", "INT64", (-1,)),
            TensorSpec("attention_mask", "INT64", (-1,)),
            TensorSpec("position_ids", "INT64", (-1,)),
            TensorSpec("text_self_attention_masks", "BOOL", (-1, -1)),
            TensorSpec("token_spans", "INT32", (-1, 3)),
        )

    @property
    def finish_tensors(self) -> tuple[TensorSpec, ...]:
        return (*self.image_network.outputs, self.text_tensors[-1])

    def writer(self, folder: Path) -> Captions:
        tokenizer = PaddedTokenizer(self.file(folder, TOKENIZER), self.spec.pad_token_id)
        return Captions(CaptionWriter(tokenizer, self.spec.text_buckets))

    def select(
        self,
        answer: Arrays,
        labels: Sequence[str],
        original_hw: tuple[int, int],
        selection: Selection,
        embed: Callable[[Arrays], NDArray[np.float32]],
    ) -> Detections:
        """The boxes above the threshold, each named by its most probable label."""
        spans = answer["token_spans"]
        found = select_boxes(
            answer["logits"],
            answer["pred_boxes"],
            spans[:, 0],
            original_hw,
            box_threshold=selection.box_threshold,
            nms_iou=self.spec.nms_iou,
            max_boxes=selection.max_boxes,
        )
        words = []
        for index, probabilities in zip(found.label_indices, found.probabilities, strict=True):
            own = spans[:, 0] == index
            of_label, threshold = probabilities[own], selection.text_threshold
            words.append(words_of(labels[index], spans[own, 1:], of_label, threshold))
        return Detections(found.boxes_xyxy, found.scores, found.label_indices, words)


class Captions:
    """Writes labels as one caption."""

    def __init__(self, writer: CaptionWriter) -> None:
        self._writer = writer
        self.check = writer.check

    def write(self, labels: Mapping[int, str]) -> Arrays:
        """The tensors of `fovea.captions.Caption`, by name; raises InvalidText."""
        return dict(vars(self._writer.write(labels)))


@dataclass(frozen=True)
class Found:
    """Boxes of one picture, best first: boxes_xyxy [N, 4] in original pixels, scores [N].

    label_indices: int32 [N], among the requested ones. probabilities: [N, T], of each token.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    label_indices: NDArray[np.int32]
    probabilities: NDArray[np.float32]


def select_boxes(
    logits: NDArray[np.float32],
    pred_boxes: NDArray[np.float32],
    token_labels: NDArray[np.int32],
    original_size_hw: tuple[int, int],
    *,
    box_threshold: float,
    nms_iou: float,
    max_boxes: int,
) -> Found:
    """The boxes above `box_threshold`, each named by its most probable label.

    logits [Q, T], pred_boxes [Q, 4] cxcywh, token_labels [T]: the index of each token's label, or
    NO_LABEL. A box's score is the largest of its token probabilities, as in transformers'
    `post_process_grounded_object_detection`; a label's is the largest over its own tokens. So each
    box has a requested label, while transformers joins the tokens above its text threshold, of
    several labels or of none. Boxes are clipped to the picture.
    """
    probabilities = sigmoid(logits)
    scores = probabilities.max(axis=1)
    inside = boxes.clip(boxes.to_xyxy(pred_boxes, original_size_hw), original_size_hw)
    above = scores > box_threshold
    best = boxes.best(inside, scores, above, nms_iou=nms_iou, max_boxes=max_boxes)
    return Found(
        boxes_xyxy=inside[best],
        scores=scores[best],
        label_indices=best_labels(probabilities[best], token_labels),
        probabilities=probabilities[best],
    )


def best_labels(
    probabilities: NDArray[np.float32], token_labels: NDArray[np.int32]
) -> NDArray[np.int32]:
    """The label with each box's most probable token: [N, T], [T] -> int32 [N].

    If labels have equal scores, the first one wins.
    """
    indices = np.unique(token_labels[token_labels != NO_LABEL])
    scores = np.stack(
        [probabilities[:, token_labels == index].max(axis=1) for index in indices], axis=1
    )
    best: NDArray[np.int32] = indices[scores.argmax(axis=1)]
    return best
