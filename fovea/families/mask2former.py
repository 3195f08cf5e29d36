"""Mask2Former: each query is a mask and a class; the task says how they make a scene."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fovea import images, label_maps, masks, segments
from fovea.geometry import Geometry
from fovea.label_maps import LabelMap, Runs
from fovea.probabilities import sigmoid, softmax
from fovea.roles import PIXEL_VALUES, Arrays, Segmenter
from fovea.segments import Segments
from fovea.specs import ModelSpec, TensorSpec, network_spec

CLASS_LOGITS = "class_logits"
MASK_LOGITS = "mask_logits"
TASKS = ("semantic", "instance", "panoptic")

# transformers merges masks in this frame, whatever the picture's size and the network's.
MERGED_HW = (384, 384)
# An instance's mask is drawn in strips of about this many pixels of the picture.
STRIP_PIXELS = 4_000_000

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Mask2FormerSpec:
    """What a Mask2Former checkpoint, and the options of its member, fix.

    image_hw: size of the picture in pixels. mask_hw: size of the network's masks. class_names: by
    class id. threshold: least score of a segment. mask_threshold: least probability of a pixel, in
    panoptic times the segment's. overlap_threshold: least share of a panoptic mask that stays
    visible. resample: Pillow's code of the filter.
    """

    image_hw: tuple[int, int]
    mask_hw: tuple[int, int]
    num_queries: int
    class_names: tuple[str, ...]
    task: str
    threshold: float
    mask_threshold: float
    overlap_threshold: float
    resample: int = int(images.BILINEAR)


class Mask2Former(Segmenter[Mask2FormerSpec]):
    """Squashes the picture: the network would take padding for a part of it."""

    Spec = Mask2FormerSpec

    @property
    def geometry(self) -> Geometry:
        spec = self.spec
        return Geometry(
            rule="squash", edges=spec.image_hw, output_hw=spec.image_hw, resample=spec.resample
        )

    @property
    def image_network(self) -> ModelSpec:
        queries, classes = self.spec.num_queries, len(self.spec.class_names)
        return network_spec(
            self.network_name(""),
            inputs=(TensorSpec(PIXEL_VALUES, "UINT8", (3, *self.spec.image_hw)),),
            outputs=(
                # The last class means none.
                TensorSpec(CLASS_LOGITS, "FP32", (queries, classes + 1)),
                TensorSpec(MASK_LOGITS, "FP32", (queries, *self.spec.mask_hw)),
            ),
            max_batch_size=4,
        )

    def segments(
        self, answer: Arrays, original_hw: tuple[int, int], *, threshold: float, max_masks: int
    ) -> Segments:
        spec, logits = self.spec, answer[MASK_LOGITS]
        classes = softmax(answer[CLASS_LOGITS])
        if spec.task == "semantic":
            return semantic(classes, logits, original_hw)
        if spec.task == "instance":
            return instances(classes, logits, original_hw, threshold, max_masks)
        thresholds = (threshold, spec.mask_threshold, spec.overlap_threshold)
        return panoptic(classes, logits, original_hw, *thresholds)


def semantic(classes: Floats, mask_logits: Floats, original_hw: tuple[int, int]) -> Segments:
    """Each pixel has the class that most queries vote for, by their probabilities.

    classes [Q, C + 1]; mask_logits [Q, h, w]. Like transformers'
    `post_process_semantic_segmentation`.
    """
    votes = sigmoid(_merged(mask_logits)).reshape(len(mask_logits), -1)
    maps = (classes[:, :-1].T @ votes).reshape(-1, *MERGED_HW)
    return segments.of_classes(label_maps.largest(maps, original_hw))


def panoptic(
    classes: Floats,
    mask_logits: Floats,
    original_hw: tuple[int, int],
    threshold: float,
    mask_threshold: float,
    overlap_threshold: float,
) -> Segments:
    """Each pixel belongs to the surest segment; segments that lose too much are dropped.

    classes [Q, C + 1]; mask_logits [Q, h, w]. Like transformers'
    `post_process_panoptic_segmentation`, which fuses no segments unless told which classes.
    """
    scores, class_ids = classes.max(axis=1), classes.argmax(axis=1)
    kept = np.flatnonzero((scores > threshold) & (class_ids < classes.shape[1] - 1))
    if not len(kept):
        return segments.of_places(np.zeros(original_hw, np.uint16, order="F"), [], [])
    maps = sigmoid(_merged(mask_logits[kept])) * scores[kept, None, None]
    on_top = label_maps.largest(maps, original_hw)
    visible = Runs.of(on_top).areas(len(kept))
    whole = label_maps.count_at_least(maps, original_hw, mask_threshold)
    # In float32, as in transformers: there, 4 of 5 pixels are more than 0.8.
    share = visible.astype(np.float32) / np.maximum(whole, 1).astype(np.float32)
    found = np.flatnonzero((visible > 0) & (whole > 0) & (share.astype(float) > overlap_threshold))
    places = np.zeros(len(kept), np.uint16)
    places[found] = 1 + np.arange(len(found))
    chosen = kept[found]
    return segments.of_places(
        places[on_top.T].T, class_ids[chosen].tolist(), scores[chosen].tolist()
    )


def instances(
    classes: Floats,
    mask_logits: Floats,
    original_hw: tuple[int, int],
    threshold: float,
    max_masks: int,
) -> Segments:
    """A mask for each query and class that are sure enough; masks may overlap.

    classes [Q, C + 1]; mask_logits [Q, h, w]. Like transformers'
    `post_process_instance_segmentation` with `return_binary_maps`; the label map is its
    `segmentation` plus 1, where later, less sure ones hide the earlier.
    """
    queries, count = len(classes), classes.shape[1] - 1
    pairs = np.argsort(-classes[:, :-1], axis=None, kind="stable")[:queries]
    # A mask's own score is at most 1.
    pairs = pairs[classes[:, :-1].reshape(-1)[pairs] >= threshold]
    query, class_ids = pairs // count, pairs % count
    logits = _merged(mask_logits[query])
    inside = logits > 0
    sure = (sigmoid(logits) * inside).sum((1, 2)) / (inside.sum((1, 2), np.float32) + 1e-6)
    scores = classes[query, class_ids] * sure.astype(np.float32)
    places = _nearest(MERGED_HW, original_hw)
    seen = inside[:, np.unique(places[0])][:, :, np.unique(places[1])].any(axis=(1, 2))
    found = np.flatnonzero((scores >= threshold) & seen)
    found = np.sort(found[np.argsort(-scores[found], kind="stable")[:max_masks]])
    merged = np.zeros(MERGED_HW, np.uint16)
    for place, index in enumerate(found, start=1):
        merged[inside[index]] = place
    return Segments(
        [_encode(inside[index], places) for index in found],
        class_ids[found].astype(np.int32),
        scores[found],
        _enlarged(merged, places),
    )


def _merged(mask_logits: Floats) -> Floats:
    """Logits [Q, h, w] in the frame where masks are merged."""
    found = np.empty((len(mask_logits), *MERGED_HW), np.float32)
    for logits, target in zip(mask_logits, found, strict=True):
        cv2.resize(logits, MERGED_HW[::-1], dst=target, interpolation=cv2.INTER_LINEAR)
    return found


def _nearest(
    source_hw: tuple[int, int], target_hw: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The source row and column of each row and column.

    Like `torch.nn.functional.interpolate`, nearest, in its float32.
    """
    rows, columns = (
        np.minimum(np.arange(target, dtype=np.float32) * np.float32(source / target), source - 1)
        for source, target in zip(source_hw, target_hw, strict=True)
    )
    return rows.astype(np.int64), columns.astype(np.int64)


def _encode(mask: NDArray[np.bool_], places: tuple[NDArray[np.int64], NDArray[np.int64]]) -> bytes:
    """COCO compressed counts of a mask whose rows and columns come from these places."""
    rows, columns = places
    step = max(1, STRIP_PIXELS // len(rows))
    tall = np.ascontiguousarray(mask.T)
    return masks.encode_columns(
        np.take(tall[columns[start : start + step]], rows, axis=1)
        for start in range(0, len(columns), step)
    )


def _enlarged(merged: LabelMap, places: tuple[NDArray[np.int64], NDArray[np.int64]]) -> LabelMap:
    rows, columns = places
    columns_first: LabelMap = np.take(np.ascontiguousarray(merged.T)[columns], rows, axis=1)
    return columns_first.T
