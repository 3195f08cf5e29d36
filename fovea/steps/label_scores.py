"""How well each label fits a picture, by an embedder's vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fovea import text
from fovea.roles import Embedder
from fovea.steps.base import Context
from fovea.steps.label_embeddings import LabelEmbeddings


class LabelScores:
    """Scores of any labels; their vectors are cached, see `LabelEmbeddings`.

    Args:
        context: of the step that uses it.
        ranks: the embedder whose vectors are compared.
        batch: texts in one call.
    """

    def __init__(self, context: Context, ranks: Embedder[Any], batch: int) -> None:
        self._ranks = ranks
        self._tokens = ranks.tokens(context.folder)
        self._embeddings = LabelEmbeddings(context, ranks.text_network, batch)

    def of(self, labels: Sequence[str], image_embeds: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [L] for L labels and a picture's vector [D].

        Labels that differ only in case or spaces are one, with one score at each of their
        positions.
        """
        words = [text.same_words(label) for label in labels]
        places = {word: place for place, word in enumerate(dict.fromkeys(words))}
        distinct = list(places)
        embeds = self._embeddings.of(distinct, lambda place: self._tokens.encode(distinct[place]))
        scores = self._ranks.label_scores(image_embeds, embeds)
        return scores[[places[word] for word in words]]
