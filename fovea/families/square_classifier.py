"""Classifiers of a square picture, the usual kind on ImageNet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fovea.geometry import Geometry
from fovea.probabilities import sigmoid, softmax
from fovea.roles import LOGITS, PIXEL_VALUES, Classifier
from fovea.specs import ModelSpec, TensorSpec, network_spec

# The default of transformers' pipeline.
TOP_K = 5
MAX_BATCH = 16


@dataclass(frozen=True)
class SquareClassifierSpec:
    """What a checkpoint fixes.

    image_size: edge of the square picture in pixels. class_names: in the order of the logits.
    multi_label: whether each class is a separate yes or no. resize_edge: the shortest edge before
    the crop; 0 squashes the whole picture. resample: Pillow's code of the filter.
    """

    image_size: int
    class_names: tuple[str, ...]
    multi_label: bool
    resize_edge: int
    resample: int
    top_k: int = TOP_K


class SquareClassifier(Classifier[SquareClassifierSpec]):
    """Scores are the softmax over the classes, or a sigmoid each if multi_label."""

    Spec = SquareClassifierSpec

    @property
    def geometry(self) -> Geometry:
        edge, resize_edge = self.spec.image_size, self.spec.resize_edge
        return Geometry(
            rule="shortest_edge" if resize_edge else "squash",
            edges=(resize_edge,) if resize_edge else (edge, edge),
            output_hw=(edge, edge),
            resample=self.spec.resample,
            crop=bool(resize_edge),
        )

    @property
    def image_network(self) -> ModelSpec:
        edge = self.spec.image_size
        return network_spec(
            self.network_name("classifier"),
            inputs=(TensorSpec(PIXEL_VALUES, "UINT8", (3, edge, edge)),),
            outputs=(TensorSpec(LOGITS, "FP32", (len(self.spec.class_names),)),),
            max_batch_size=MAX_BATCH,
        )

    def scores(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        return sigmoid(logits) if self.spec.multi_label else softmax(logits)
