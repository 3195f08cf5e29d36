"""RT-DETR, its second version and D-FINE: real-time detectors without suppression.

They differ only inside their graphs: each gives logits and boxes of Q queries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fovea.families import class_boxes
from fovea.geometry import Geometry
from fovea.probabilities import sigmoid
from fovea.roles import PIXEL_VALUES, Arrays, Detections, Detector, Selection
from fovea.specs import ModelSpec, TensorSpec, Tolerance, network_spec


@dataclass(frozen=True)
class RtDetrSpec:
    """What a checkpoint of RT-DETR or D-FINE fixes.

    image_hw: height and width in pixels that pictures are squashed to. num_queries: most boxes of
    an answer. class_names: by class id. box_threshold: default of the score for a box. resample:
    Pillow's code of the filter.
    """

    image_hw: tuple[int, int]
    num_queries: int
    class_names: tuple[str, ...]
    box_threshold: float
    resample: int


class RtDetr(Detector[RtDetrSpec]):
    """One network: logits [Q, C] and pred_boxes [Q, 4], cxcywh as fractions of the picture."""

    Spec = RtDetrSpec

    @property
    def geometry(self) -> Geometry:
        size = self.spec.image_hw
        return Geometry(rule="squash", edges=size, output_hw=size, resample=self.spec.resample)

    @property
    def image_network(self) -> ModelSpec:
        queries = self.spec.num_queries
        return network_spec(
            self.name,
            inputs=(TensorSpec(PIXEL_VALUES, "UINT8", (3, *self.spec.image_hw)),),
            outputs=(
                TensorSpec("logits", "FP32", (queries, len(self.spec.class_names))),
                TensorSpec("pred_boxes", "FP32", (queries, 4)),
            ),
            max_batch_size=8,
            tolerance=Tolerance(difference=1e-3, rows=0.98),
        )

    def select(
        self, answer: Arrays, original_hw: tuple[int, int], selection: Selection
    ) -> Detections:
        """The Q most probable pairs of a query and a class that are above the threshold.

        So a box may appear twice, with two names. Like transformers'
        `RTDetrImageProcessor.post_process_object_detection`.
        """
        logits = answer["logits"]
        queries, classes = logits.shape
        pairs = np.arange(logits.size)
        return class_boxes.best(
            answer["pred_boxes"][pairs // classes],
            sigmoid(logits.ravel()),
            pairs % classes,
            self.spec.class_names,
            original_hw,
            replace(selection, max_boxes=min(selection.max_boxes, queries)),
        )
