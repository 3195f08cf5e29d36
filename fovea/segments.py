"""The segments of a scene, in pixels of the original picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fovea.label_maps import LabelMap, Runs

# A segment's score in a task without scores: the class on top is certain.
NO_DOUBT = 1.0


@dataclass(frozen=True)
class Segments:
    """Segments of one picture.

    Attributes:
        masks: N COCO RLE counts.
        class_ids: int32 [N].
        scores: float32 [N], within [0, 1].
        label_map: uint16 [H, W], one label a pixel: class ids if the segments are classes, else
            1 + the segment's position in the lists above, and 0 for no segment.
    """

    masks: list[bytes]
    class_ids: NDArray[np.int32]
    scores: NDArray[np.float32]
    label_map: LabelMap


def of_classes(label_map: LabelMap) -> Segments:
    """A segment for each class in a map of class ids, in the order of their ids."""
    runs = Runs.of(label_map)
    class_ids = np.unique(runs.labels)
    return Segments(
        [runs.encode(int(class_id)) for class_id in class_ids],
        class_ids.astype(np.int32),
        np.full(len(class_ids), NO_DOUBT, np.float32),
        label_map,
    )


def of_places(label_map: LabelMap, class_ids: Sequence[int], scores: Sequence[float]) -> Segments:
    """Segments of a map with 1 + their positions in these lists, and 0 for none."""
    runs = Runs.of(label_map)
    return Segments(
        [runs.encode(place) for place in range(1, len(class_ids) + 1)],
        np.array(class_ids, np.int32),
        np.array(scores, np.float32),
        label_map,
    )
