"""OWL-ViT and OWLv2: find the named things; each label is a separate query.

The picture's network knows no labels: it gives every patch a vector, a box, and how its cosines
become logits. So labels are embedded once, as for CLIP, and compared with the patches in numpy.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fovea import boxes, text
from fovea.families.towers import text_tower
from fovea.probabilities import sigmoid
from fovea.roles import (
    PIXEL_VALUES,
    TOKENIZER,
    Arrays,
    Detections,
    OpenDetector,
    Selection,
)
from fovea.specs import ModelSpec, TensorSpec, network_spec
from fovea.tokenizer import FixedLengthTexts

# A text's start and end tokens.
SPECIAL_TOKENS = 2
# Positions in the list of labels that these tokens belong to.
ASKED = "asked"


@dataclass(frozen=True)
class OwlSpec:
    """What a checkpoint fixes.

    image_size: edge of the square picture in pixels. num_queries: patches, each with a box.
    embed_dim: length of the vectors of patches and labels. text_length: tokens that all labels are
    padded to. box_threshold: default of the score for a box. text_threshold: has no effect, as a
    label is one query. nms_iou: boxes that overlap a better one by more are dropped.
    """

    image_size: int
    num_queries: int
    embed_dim: int
    text_length: int
    pad_token_id: int
    box_threshold: float
    text_threshold: float = 0.0
    nms_iou: float = 0.7


AnyOwlSpec = TypeVar("AnyOwlSpec", bound=OwlSpec)


class Owl(OpenDetector[AnyOwlSpec]):
    """Labels have their own network, whose answers are cached.

    The image network gives for each of Q patches, all float32: class_embeds [Q, D] of length 1;
    logit_shift, logit_scale [Q], see `label_logits`; pred_boxes [Q, 4], boxes_cxcywh as fractions
    of the frame.
    """

    @abstractmethod
    def frame_hw(self, original_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the part that the network sees, in pixels of the original picture."""

    @property
    def patch_tensors(self) -> tuple[TensorSpec, ...]:
        """The image network's outputs for each patch."""
        queries = self.spec.num_queries
        return (
            TensorSpec("class_embeds", "FP32", (queries, self.spec.embed_dim)),
            TensorSpec("logit_shift", "FP32", (queries,)),
            TensorSpec("logit_scale", "FP32", (queries,)),
            TensorSpec("pred_boxes", "FP32", (queries, 4)),
        )

    @property
    def image_network(self) -> ModelSpec:
        return network_spec(
            self.network_name("image_encoder"),
            inputs=(TensorSpec(PIXEL_VALUES, "UINT8", (3, *self.geometry.output_hw)),),
            outputs=self.patch_tensors,
            max_batch_size=8,
        )

    @property
    def text_network(self) -> ModelSpec:
        name = self.network_name("text_encoder")
        return text_tower(name, self.spec.text_length, self.spec.embed_dim)

    @property
    def text_tensors(self) -> tuple[TensorSpec, ...]:
        return (
            TensorSpec("input_ids", "INT64", (-1, self.spec.text_length)),
            TensorSpec("attention_mask", "INT64", (-1, self.spec.text_length)),
            TensorSpec(ASKED, "INT32", (-1,)),
        )

    @property
    def finish_tensors(self) -> tuple[TensorSpec, ...]:
        return (*self.patch_tensors, *self.text_tensors)

    def writer(self, folder: Path) -> Queries:
        return Queries(self.file(folder, TOKENIZER), self.spec)

    def select(
        self,
        answer: Arrays,
        labels: Sequence[str],
        original_hw: tuple[int, int],
        selection: Selection,
        embed: Callable[[Arrays], NDArray[np.float32]],
    ) -> Detections:
        """The boxes above the threshold; a box answers the whole label."""
        queries = {name: answer[name] for name in ("input_ids", "attention_mask")}
        logits = label_logits(
            answer["class_embeds"], answer["logit_shift"], answer["logit_scale"], embed(queries)
        )
        found = select_boxes(
            logits,
            answer["pred_boxes"],
            original_hw,
            frame_hw=self.frame_hw(original_hw),
            box_threshold=selection.box_threshold,
            nms_iou=self.spec.nms_iou,
            max_boxes=selection.max_boxes,
        )
        indices = answer[ASKED][found.labels]
        words = [text.bare(labels[index]) for index in indices]
        return Detections(found.boxes_xyxy, found.scores, indices, words)


class Queries(FixedLengthTexts):
    """Writes each label as the tokens of a query; labels with the same words share one."""

    def __init__(self, path: Path, spec: OwlSpec) -> None:
        super().__init__(path, spec.pad_token_id, spec.text_length, SPECIAL_TOKENS)

    def write(self, labels: Mapping[int, str]) -> Arrays:
        """input_ids and attention_mask int64 [P, T], asked int32 [P]; raises InvalidText."""
        self.check([*labels.values()])
        first: dict[str, int] = {}
        for index, label in labels.items():
            first.setdefault(text.same_words(label), index)
        rows = [self.encode(words) for words in first]
        return {
            **{name: np.stack([row[name] for row in rows]) for name in rows[0]},
            ASKED: np.array([*first.values()], np.int32),
        }


def label_logits(
    class_embeds: NDArray[np.float32],
    logit_shift: NDArray[np.float32],
    logit_scale: NDArray[np.float32],
    query_embeds: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Logits of each patch for each label: [Q, D], [Q], [Q], [L, D] -> float32 [Q, L].

    Formula: transformers' `OwlViTClassPredictionHead` and `Owlv2ClassPredictionHead`.
    """
    cosines = class_embeds @ query_embeds.T
    return np.asarray((cosines + logit_shift[:, None]) * logit_scale[:, None], np.float32)


@dataclass(frozen=True)
class Found:
    """Boxes of one picture, best first: boxes_xyxy [N, 4] in original pixels, scores [N].

    labels: int64 [N], columns of the logits.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


def select_boxes(
    logits: NDArray[np.float32],
    pred_boxes: NDArray[np.float32],
    original_size_hw: tuple[int, int],
    *,
    frame_hw: tuple[int, int],
    box_threshold: float,
    nms_iou: float,
    max_boxes: int,
) -> Found:
    """The boxes above `box_threshold`, each named by its most probable label.

    logits [Q, L], pred_boxes [Q, 4] cxcywh as fractions of the frame, whose size is in pixels of
    the original picture. As in transformers' `post_process_grounded_object_detection`, a box's
    score is the largest sigmoid of its labels. Boxes are also clipped to the picture; those outside
    it and those that overlap a better one are dropped.
    """
    probabilities = sigmoid(logits)
    scores = probabilities.max(axis=1)
    inside = boxes.clip(boxes.to_xyxy(pred_boxes, frame_hw), original_size_hw)
    kept = (scores > box_threshold) & (boxes.area(inside) > 0)
    best = boxes.best(inside, scores, kept, nms_iou=nms_iou, max_boxes=max_boxes)
    return Found(inside[best], scores[best], probabilities[best].argmax(axis=1))
