"""DETR: a set of boxes, each with one class or none."""

from __future__ import annotations

from dataclasses import dataclass

from fovea.families import class_boxes
from fovea.geometry import Geometry
from fovea.probabilities import softmax
from fovea.roles import PIXEL_VALUES, VALID_HW, Arrays, Detections, Detector, Selection
from fovea.specs import ModelSpec, TensorSpec, Tolerance, network_spec


@dataclass(frozen=True)
class DetrSpec:
    """What a DETR checkpoint fixes.

    shortest_edge, longest_edge: in pixels, of the resized picture. canvas_hw: height and width,
    with the picture at its top left. num_queries: most boxes of an answer. class_names: by class
    id. box_threshold: default of the score for a box. resample: Pillow's code of the filter.
    """

    shortest_edge: int
    longest_edge: int
    canvas_hw: tuple[int, int]
    num_queries: int
    class_names: tuple[str, ...]
    box_threshold: float
    resample: int


class Detr(Detector[DetrSpec]):
    """One network: logits [Q, C + 1], the last for "no object", and pred_boxes [Q, 4].

    Boxes are cxcywh as fractions of the picture, without the rest of the canvas.
    """

    Spec = DetrSpec

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
        queries = self.spec.num_queries
        return network_spec(
            self.name,
            inputs=(
                TensorSpec(PIXEL_VALUES, "UINT8", (3, *self.spec.canvas_hw)),
                TensorSpec(VALID_HW, "INT32", (2,)),
            ),
            outputs=(
                TensorSpec("logits", "FP32", (queries, len(self.spec.class_names) + 1)),
                TensorSpec("pred_boxes", "FP32", (queries, 4)),
            ),
            max_batch_size=8,
            tolerance=Tolerance(difference=1e-3),
        )

    def select(
        self, answer: Arrays, original_hw: tuple[int, int], selection: Selection
    ) -> Detections:
        """Each query's most probable class, if it is above the threshold.

        Probabilities are a softmax with "no object" as a class; like transformers'
        `DetrImageProcessor.post_process_object_detection`.
        """
        probabilities = softmax(answer["logits"])[:, :-1]
        return class_boxes.best(
            answer["pred_boxes"],
            probabilities.max(axis=1),
            probabilities.argmax(axis=1),
            self.spec.class_names,
            original_hw,
            selection,
        )
