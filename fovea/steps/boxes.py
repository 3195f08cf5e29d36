"""A detector's boxes and their names, in pixels of the original picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fovea import prompts
from fovea.roles import (
    ORIGINAL_SIZE,
    POINT_COORDS,
    POINT_LABELS,
    Arrays,
    Detections,
    Detector,
    OpenDetector,
    Selection,
)
from fovea.steps.base import Context, Step, read_threshold
from fovea.steps.label_embeddings import LabelEmbeddings


class _Boxes(Step):
    """What the steps of both kinds of detectors share."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._max_boxes = self.setting("max_boxes", int)

    def room(self, original_hw: tuple[int, int]) -> int:
        """How many boxes an answer may have, so that a mask can be drawn for each."""
        return min(self._max_boxes, self.limits.masks_of(original_hw))

    def answer(self, found: Detections, phrases: NDArray[Any]) -> Arrays:
        """Boxes, and the boxes as prompts; phrases: encoded, one for each box."""
        coords, labels = prompts.pad_prompts(*prompts.box_prompts(found.boxes_xyxy))
        return {
            "boxes": found.boxes_xyxy,
            "scores": found.scores,
            "phrases": phrases,
            "label_indices": found.label_indices,
            "words": np.array([word.encode() for word in found.words], np.object_),
            POINT_COORDS.name: coords,
            POINT_LABELS.name: labels,
        }


class SelectBoxes(_Boxes):
    """An open detector's answer and TEXT -> boxes, their names, and the boxes as prompts."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        [detects] = self.roles.values()
        assert isinstance(detects, OpenDetector)
        self._detects = detects

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        spec = self._detects.spec
        height, width = inputs[ORIGINAL_SIZE.name].tolist()
        found = self._detects.select(
            inputs,
            [label.decode() for label in inputs["TEXT"]],
            (height, width),
            Selection(
                box_threshold=read_threshold(inputs, "BOX_THRESHOLD", spec.box_threshold),
                max_boxes=self.room((height, width)),
                text_threshold=read_threshold(inputs, "TEXT_THRESHOLD", spec.text_threshold),
            ),
            self.embed,
        )
        return self.answer(found, inputs["TEXT"][found.label_indices])

    def embed(self, rows: Arrays) -> NDArray[np.float32]:
        """Run the detector's text network on a batch of labels."""
        raise NotImplementedError(f"{self._detects.name} has no text network")


class SelectBoxesByEmbeddings(SelectBoxes):
    """`SelectBoxes` for a detector that compares boxes with embeddings of the labels."""

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


class SelectClassBoxes(_Boxes):
    """A detector's answer -> boxes, the names of their classes, and the boxes as prompts."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        [detects] = self.roles.values()
        assert isinstance(detects, Detector)
        self._detects = detects
        names = detects.spec.class_names
        self._class_names = np.array([name.encode() for name in names], np.object_)

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        default = self._detects.spec.box_threshold
        height, width = inputs[ORIGINAL_SIZE.name].tolist()
        selection = Selection(
            box_threshold=read_threshold(inputs, "BOX_THRESHOLD", default),
            max_boxes=self.room((height, width)),
        )
        found = self._detects.select(inputs, (height, width), selection)
        return self.answer(found, self._class_names[found.label_indices])
