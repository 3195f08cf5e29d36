"""A segmenter's segments of a scene, in pixels of the original picture."""

from __future__ import annotations

import numpy as np

from fovea import label_maps
from fovea.roles import ORIGINAL_SIZE, Arrays, Segmenter
from fovea.steps.base import Context, Step, read_threshold
from fovea.steps.tensors import THRESHOLD, WITH_LABEL_MAP


class SegmentScene(Step):
    """A segmenter's answer -> masks as COCO RLE with their classes and scores.

    The label map comes as a PNG if requested: callers who only want masks need not wait for it.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        [segments] = self.roles.values()
        assert isinstance(segments, Segmenter)
        self._segments = segments
        self._names = np.array([n.encode() for n in segments.spec.class_names], np.object_)

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        height, width = inputs[ORIGINAL_SIZE.name].tolist()
        found = self._segments.segments(
            inputs,
            (height, width),
            threshold=read_threshold(inputs, THRESHOLD.name, self._segments.spec.threshold),
            max_masks=self.limits.masks_of((height, width)),
        )
        drawn = WITH_LABEL_MAP.name in inputs and bool(inputs[WITH_LABEL_MAP.name][0])
        return {
            "masks": np.array(found.masks, np.object_),
            "scores": found.scores,
            "phrases": self._names[found.class_ids],
            "label_indices": found.class_ids,
            "label_map": np.array(
                [label_maps.encode_png(found.label_map)] if drawn else [], np.object_
            ),
        }
