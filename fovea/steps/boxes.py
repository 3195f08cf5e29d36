"""What an open detector found, in pixels of the original picture and in the caller's labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fovea import prompts
from fovea.roles import (
    ORIGINAL_SIZE,
    POINT_COORDS,
    POINT_LABELS,
    Arrays,
    OpenDetector,
    Selection,
)
from fovea.steps.base import Context, Step, read_threshold
from fovea.steps.label_embeddings import LabelEmbeddings


class SelectBoxes(Step):
    """A detector's answer and TEXT -> boxes, what names them, and the boxes as prompts."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        [detects] = self.roles.values()
        assert isinstance(detects, OpenDetector)
        self._detects = detects
        self._max_boxes = self.setting("max_boxes", int)

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        spec = self._detects.spec
        height, width = inputs[ORIGINAL_SIZE.name].tolist()
        found = self._detects.select(
            inputs,
            [label.decode() for label in inputs["TEXT"]],
            (height, width),
            Selection(
                box_threshold=read_threshold(inputs, "BOX_THRESHOLD", spec.box_threshold),
                text_threshold=read_threshold(inputs, "TEXT_THRESHOLD", spec.text_threshold),
                max_boxes=min(self._max_boxes, self.limits.masks_of((height, width))),
            ),
            self.embed,
        )
        coords, labels = prompts.pad_prompts(*prompts.box_prompts(found.boxes_xyxy))
        return {
            "boxes": found.boxes_xyxy,
            "scores": found.scores,
            "phrases": inputs["TEXT"][found.label_indices],
            "label_indices": found.label_indices,
            "words": np.array([word.encode() for word in found.words], np.object_),
            POINT_COORDS.name: coords,
            POINT_LABELS.name: labels,
        }

    def embed(self, rows: Arrays) -> NDArray[np.float32]:
        """The detector's text network on a batch of labels."""
        raise NotImplementedError(f"{self._detects.name} has no text network")


class SelectBoxesByEmbeddings(SelectBoxes):
    """As `SelectBoxes`, for a detector that compares boxes with embeddings of the labels."""

    METRICS: ClassVar[Mapping[str, str]] = LabelEmbeddings.METRICS
    WORKERS = 8
    CALLS_MODELS = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        network = self._detects.text_network
        assert network is not None
        batch = self.setting("text_batch", int)
        self._embeddings = LabelEmbeddings(context, network, batch)

    def embed(self, rows: Arrays) -> NDArray[np.float32]:
        count = len(next(iter(rows.values())))
        texts = [{name: array[i] for name, array in rows.items()} for i in range(count)]
        keys = [b"".join(array.tobytes() for array in one.values()) for one in texts]
        return self._embeddings.of(keys, texts.__getitem__)
