"""The answer of classify, and its inputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fovea_client import prompts
from fovea_client.answers import Answer
from fovea_client.errors import InvalidSetting, InvalidText
from fovea_client.requests import TensorValue
from fovea_client.results import Floats, to_json

INT32_MAX = int(np.iinfo(np.int32).max)
PLACE = "{}"


@dataclass(frozen=True, eq=False)
class Classification:
    """What a picture shows, best first.

    labels: K of the given ones, unchanged, or of the classifier's own. indices: their positions
    among those, int32 [K]. scores: [K], within [0, 1]; they add up to 1 over all labels if the
    model compares them (CLIP, most classifiers), and are independent if it does not (SigLIP,
    multi-label classifiers).
    """

    labels: tuple[str, ...]
    indices: NDArray[np.int32]
    scores: Floats

    @property
    def label(self) -> str:
        """The best label."""
        return self.labels[0]

    @property
    def score(self) -> float:
        """The best label's score."""
        return float(self.scores[0])

    def __len__(self) -> int:
        return len(self.labels)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "labels": list(self.labels),
            "indices": self.indices.tolist(),
            "scores": to_json(self.scores),
        }


@dataclass(frozen=True)
class Question:
    """Labels or none, and the most answers; None is all, or the server's own.

    Raises InvalidText and InvalidSetting for invalid values.
    """

    labels: tuple[str, ...] | None
    template: str | None
    top_k: int | None

    @classmethod
    def of(
        cls, labels: str | Iterable[str] | None, template: str | None, top_k: int | None
    ) -> Question:
        _check_template(template, labels_given=labels is not None)
        _check_top_k(top_k)
        asked = None if labels is None else prompts.to_labels(labels)
        return cls(asked, template, top_k)

    def to_inputs(self, image: bytes) -> dict[str, TensorValue]:
        """A request's tensors; with labels, the server answers all of them."""
        if self.labels is not None:
            template = self.template or PLACE
            texts = tuple(template.replace(PLACE, label) for label in self.labels)
            return {"IMAGE": image, "TEXT": texts}
        if self.top_k is not None:
            return {"IMAGE": image, "TOP_K": np.array([self.top_k], np.int32)}
        return {"IMAGE": image}

    def read(self, answer: Answer) -> Classification:
        """The result, with the labels as given."""
        kept = slice(self.top_k)
        indices, scores = answer.array("LABEL_INDICES")[kept], answer.array("LABEL_SCORES")[kept]
        asked = self.labels
        labels = answer.texts("LABELS")[kept] if asked is None else (asked[i] for i in indices)
        return Classification(tuple(labels), indices, scores)


def _check_template(template: str | None, *, labels_given: bool) -> None:
    if template is None:
        return
    if not labels_given:
        raise InvalidText(f"expected labels for the template {template!r:.80}, got none")
    if not isinstance(template, str) or PLACE not in template:
        raise InvalidText(f"expected a template with {PLACE} for the label, got {template!r:.80}")


def _check_top_k(top_k: int | None) -> None:
    if top_k is None:
        return
    whole = isinstance(top_k, (int, np.integer)) and not isinstance(top_k, bool)
    if not whole or not 1 <= top_k <= INT32_MAX:
        raise InvalidSetting(f"top_k: expected a whole number from 1, got {top_k!r:.80}")
