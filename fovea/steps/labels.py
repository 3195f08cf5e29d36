"""Texts for an embedder: the tokens of one, and which of many labels a picture is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from fovea import text
from fovea.roles import IMAGE_EMBEDS, Arrays, Embedder, OpenDetector
from fovea.steps.base import Context, Step
from fovea.steps.label_embeddings import LabelEmbeddings
from fovea.steps.label_scores import LabelScores


class TokenizeText(Step):
    """TEXT, taken whole -> the inputs of the text network.

    Raises Overloaded if too many requests wait for that network.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        [embeds] = self.roles.values()
        assert isinstance(embeds, Embedder)
        self._tokens = embeds.tokens(context.folder)
        self._asks = self.setting("asks", tuple[str, ...])

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        self.check_room(self._asks)
        return self._tokens.encode(text.decode_text(inputs["TEXT"][0], self.limits))


class RankLabels(Step):
    """The labels of TEXT against an image embedding -> label, label_index, labels, label_scores.

    labels and label_scores are in the order of TEXT. Labels that differ only in case or spaces are
    one: they have one score, at each of their positions, and the first's index. The best label is
    also given as the detector's text tensors.
    """

    METRICS: ClassVar[Mapping[str, str]] = LabelEmbeddings.METRICS
    WORKERS = 8
    CALLS_MODELS = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        ranks, detects = self.roles.values()
        assert isinstance(ranks, Embedder)
        assert isinstance(detects, OpenDetector)
        self._writer = detects.writer(context.folder)
        self._scores = LabelScores(context, ranks, self.setting("text_batch", int))

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        labels = self.read_labels(inputs)
        scores = self._scores.of(labels, inputs[IMAGE_EMBEDS])
        best = int(scores.argmax())
        return {
            "label": inputs["TEXT"][[best]],
            "label_index": np.array([best], np.int32),
            "labels": inputs["TEXT"],
            "label_scores": scores,
            **self._writer.write({best: labels[best]}),
        }
