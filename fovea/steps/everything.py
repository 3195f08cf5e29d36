"""Every object of a picture, from a promptable member's grid decoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fovea import everything, masks
from fovea.errors import InvalidSetting
from fovea.everything import Candidates, Settings
from fovea.limits import Limits
from fovea.roles import (
    AREAS,
    GRID_POINTS,
    IOU_SCORES,
    LOW_RES_MASKS,
    MASK_BOXES,
    ORIGINAL_SIZE,
    STABILITY,
    Arrays,
    Promptable,
)
from fovea.steps.base import Context, Step, read_threshold

# The grid decoder's figures for each mask, in the order of `Candidates`.
JUDGED = [IOU_SCORES, STABILITY, AREAS, MASK_BOXES]
_LAST_PIXEL = np.array([0, 0, 1, 1], np.float32)
_INT32_MAX = int(np.iinfo(np.int32).max)


def read_settings(inputs: Arrays, spec: Any, limits: Limits) -> Settings:
    """The caller's settings, else the checkpoint's; raises InvalidSetting, InvalidThreshold.

    spec: of a promptable member.
    """
    return Settings(
        _read_count(inputs, "POINTS_PER_SIDE", spec.points_per_side, 1, limits.points_per_side),
        read_threshold(inputs, "IOU_THRESHOLD", spec.iou_threshold),
        read_threshold(inputs, "STABILITY_THRESHOLD", spec.stability_threshold),
        _read_count(inputs, "MIN_AREA", 0, 0, _INT32_MAX),
        _read_count(inputs, "MAX_OBJECTS", limits.objects, 0, limits.objects),
        read_threshold(inputs, "MIN_PIECE", spec.min_piece),
        bool(_read_count(inputs, "FULL_SIZE", 0, 0, 1)),
    )


def _read_count(inputs: Arrays, name: str, default: int, least: int, most: int) -> int:
    if name not in inputs:
        return min(default, most)
    value = int(inputs[name][0])
    if not least <= value <= most:
        raise InvalidSetting(f"{name}: expected a number within [{least}, {most}], got {value}")
    return value


@dataclass(frozen=True, eq=False)
class Found:
    """The objects of one picture, the surest first.

    Attributes:
        boxes_xyxy: float32 [N, 4], around the masks, in pixels of the original picture.
        counts: N masks of the original picture, COCO RLE.
        logits: float32 [N, M, M], as from the decoder.
        scores, stability: float32 [N].
    """

    boxes_xyxy: NDArray[np.float32]
    counts: list[bytes]
    logits: NDArray[np.float32]
    scores: NDArray[np.float32]
    stability: NDArray[np.float32]

    def of(self, chosen: list[int]) -> Found:
        """Only these objects, in this order."""
        return Found(
            self.boxes_xyxy[chosen],
            [self.counts[i] for i in chosen],
            self.logits[chosen],
            self.scores[chosen],
            self.stability[chosen],
        )

    @property
    def tensors(self) -> Arrays:
        """The tensors of `fovea.steps.tensors.OBJECTS`."""
        return {
            "boxes": self.boxes_xyxy,
            "masks": np.array(self.counts, np.object_),
            "mask_scores": self.scores,
            "stability": self.stability,
        }


class SegmentEverything(Step):
    """A picture's embedding -> the masks of all its objects, with boxes and scores.

    The grid is decoded chunk by chunk: other requests to the decoder run in between, and join its
    batches.
    """

    WORKERS = 8
    CALLS_MODELS = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        [self._cuts] = [role for role in self.roles.values() if isinstance(role, Promptable)]
        self._decoder = self._cuts.grid_decoder

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        return self.find(inputs).tensors

    def find(self, inputs: Arrays) -> Found:
        """The objects that meet the caller's settings."""
        height, width = inputs[ORIGINAL_SIZE.name].tolist()
        settings = read_settings(inputs, self._cuts.spec, self.limits)
        most = min(settings.max_objects, self.limits.objects_of((height, width)))
        points = everything.point_grid(settings.points_per_side, (height, width))
        judged = self._decode(inputs, points, JUDGED)
        if settings.full_size:
            self._measure(inputs, points, judged, settings)
        candidates = Candidates(points, *(judged[name] for name in JUDGED))
        kept = everything.keep(candidates, replace(settings, max_objects=most))
        of_point, of_mask = kept.T
        drawn = self._decode(inputs, points[of_point], [LOW_RES_MASKS], of_mask)[LOW_RES_MASKS]
        if settings.min_piece:
            for logits in drawn:
                logits[:] = self._cuts.without_specks(logits, (height, width), settings.min_piece)
        counts = [self._cuts.encode_mask(logits, (height, width)) for logits in drawn]
        boxes = np.array([masks.rle_box(one, (height, width)) for one in counts], np.float32)
        found = Found(
            boxes.reshape(-1, 4),
            counts,
            drawn,
            candidates.iou_scores[of_point, of_mask],
            candidates.stability[of_point, of_mask],
        )
        large = found.of(
            [i for i, one in enumerate(counts) if masks.rle_area(one) >= max(settings.min_area, 1)]
        )
        if not settings.min_piece:
            return large
        return large.of(everything.distinct(large.boxes_xyxy, large.scores).tolist())

    def _measure(
        self, inputs: Arrays, points: NDArray[np.float32], judged: Arrays, settings: Settings
    ) -> None:
        """Replace stability, areas and boxes by those at the picture's size.

        Interpolation is linear: a mask of raised logits is the mask at a lowered threshold.
        """
        height, width = inputs[ORIGINAL_SIZE.name].tolist()
        size_hw = (height, width)
        offset = np.float32(everything.STABILITY_OFFSET)
        likely = everything.worth_measuring(judged[IOU_SCORES], judged[STABILITY], settings)
        for places in likely:
            of_point, of_mask = places.T
            drawn = self._decode(inputs, points[of_point], [LOW_RES_MASKS], of_mask)[LOW_RES_MASKS]
            for place, logits in zip(map(tuple, places), drawn, strict=True):
                counts = self._cuts.encode_mask(logits, size_hw)
                raised, lowered = (
                    masks.rle_area(self._cuts.encode_mask(moved, size_hw))
                    for moved in (logits - offset, logits + offset)
                )
                judged[STABILITY][place] = raised / max(1, lowered)
                judged[AREAS][place] = masks.rle_area(counts)
                # transformers compares boxes that end at the last pixel, not after it.
                box = np.array(masks.rle_box(counts, size_hw), np.float32)
                judged[MASK_BOXES][place] = box - _LAST_PIXEL

    def _decode(
        self,
        inputs: Arrays,
        points: NDArray[np.float32],
        names: list[str],
        of_mask: NDArray[np.int64] | None = None,
    ) -> Arrays:
        """The grid decoder's answers about points; of_mask: for each, the mask to return."""
        maps = {
            tensor.name: inputs[tensor.name][None]
            for tensor in self._decoder.inputs
            if tensor.name != GRID_POINTS.name
        }
        shapes = {tensor.name: tensor.shape for tensor in self._decoder.outputs}
        parts: dict[str, list[NDArray[np.float32]]] = {
            name: [np.zeros((0, *shapes[name][1 if of_mask is None else 2 :]), np.float32)]
            for name in names
        }
        start = 0
        for chunk in everything.chunked(points):
            feed = {**maps, GRID_POINTS.name: chunk[None]}
            answer = self.context.call_model(self._decoder.name, feed, names)
            end = start + len(chunk)
            for name in names:
                rows = answer[name][0]
                picked = rows if of_mask is None else rows[np.arange(len(rows)), of_mask[start:end]]
                parts[name].append(picked.copy())
            start = end
        return {name: np.concatenate(arrays) for name, arrays in parts.items()}
