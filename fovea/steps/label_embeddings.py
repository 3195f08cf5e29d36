"""Embeddings of labels: a text network computes each once, then they are cached."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from fovea.array_cache import ArrayCache
from fovea.roles import TEXT_EMBEDS, Arrays
from fovea.specs import ModelSpec
from fovea.steps.base import Context

CACHED_LABELS = 4096
HITS = "fovea_label_cache_hits_total"
MISSES = "fovea_label_cache_misses_total"


class LabelEmbeddings:
    """A text network's answers, cached by label; counts into HITS and MISSES.

    Args:
        context: of the step that uses it.
        network: takes texts, gives text_embeds.
        batch: texts in one call.
    """

    METRICS: ClassVar[dict[str, str]] = {
        HITS: "Label embeddings found in the cache",
        MISSES: "Label embeddings computed by the text network",
    }

    def __init__(self, context: Context, network: ModelSpec, batch: int) -> None:
        self._context, self._name, self._batch = context, network.name, batch
        [embeds] = [tensor for tensor in network.outputs if tensor.name == TEXT_EMBEDS]
        self._cache = ArrayCache(CACHED_LABELS * 4 * embeds.shape[0])

    def of(
        self, keys: Sequence[Hashable], inputs_of: Callable[[int], Arrays]
    ) -> NDArray[np.float32]:
        """float32 [L, D] for L keys; `inputs_of` gives the network's inputs of the i-th."""
        found = [self._cache.get(key) for key in keys]
        missing = [i for i, embeds in enumerate(found) if embeds is None]
        for i, embeds in zip(missing, self._compute([inputs_of(i) for i in missing]), strict=True):
            found[i] = embeds
            self._cache.put(keys[i], embeds)
        self._context.count(HITS, len(keys) - len(missing))
        self._context.count(MISSES, len(missing))
        return np.stack([embeds for embeds in found if embeds is not None])

    def _compute(self, rows: list[Arrays]) -> list[NDArray[np.float32]]:
        computed: list[NDArray[np.float32]] = []
        for start in range(0, len(rows), self._batch):
            chunk = rows[start : start + self._batch]
            inputs: Arrays = {name: np.stack([row[name] for row in chunk]) for name in chunk[0]}
            out = self._context.call_model(self._name, inputs, [TEXT_EMBEDS])
            computed.extend(row.copy() for row in out[TEXT_EMBEDS])
        return computed
