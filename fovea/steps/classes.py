"""What a picture shows, among a classifier's own classes or the caller's labels, best first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fovea.errors import InvalidSetting
from fovea.roles import IMAGE_EMBEDS, LOGITS, Arrays, Classifier, Embedder
from fovea.steps.base import Context, Step
from fovea.steps.label_embeddings import LabelEmbeddings
from fovea.steps.label_scores import LabelScores


def read_top_k(inputs: Arrays, default: int) -> int:
    """The most classes that the caller wants; raises InvalidSetting."""
    if "TOP_K" not in inputs:
        return default
    value = int(inputs["TOP_K"][0])
    if value < 1:
        raise InvalidSetting(f"TOP_K: expected a whole number from 1, got {value}")
    return value


def best_first(scores: NDArray[np.float32]) -> NDArray[np.int32]:
    """Positions int32 [N] in falling order of scores [N]; equal ones keep their order."""
    return np.argsort(-scores, kind="stable").astype(np.int32)


class SelectClasses(Step):
    """A classifier's logits and TOP_K -> labels, label_indices, label_scores."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        [classifies] = self.roles.values()
        assert isinstance(classifies, Classifier)
        self._classifies = classifies
        labels = [label.encode() for label in classifies.spec.class_names]
        self._labels = np.array(labels, np.object_)

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        scores = self._classifies.scores(inputs[LOGITS])
        order = best_first(scores)[: read_top_k(inputs, self._classifies.spec.top_k)]
        return {
            "labels": self._labels[order],
            "label_indices": order,
            "label_scores": scores[order],
        }


class RankClasses(Step):
    """The labels of TEXT and an image embedding -> labels, label_indices, label_scores.

    Returns all elements of TEXT as sent, with their positions in it.
    """

    METRICS: ClassVar[Mapping[str, str]] = LabelEmbeddings.METRICS
    WORKERS = 8
    CALLS_MODELS = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        [ranks] = self.roles.values()
        assert isinstance(ranks, Embedder)
        self._scores = LabelScores(context, ranks, self.setting("text_batch", int))

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        scores = self._scores.of(self.read_labels(inputs), inputs[IMAGE_EMBEDS])
        order = best_first(scores)
        return {
            "labels": inputs["TEXT"][order],
            "label_indices": order,
            "label_scores": scores[order],
        }
