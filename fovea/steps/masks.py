"""Pictures and prompts for a promptable member: cached embeddings, and masks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fovea.array_cache import ArrayCache
from fovea.prompts import PADDING
from fovea.roles import (
    IOU_SCORES,
    LOW_RES_MASKS,
    ORIGINAL_SIZE,
    POINT_LABELS,
    Arrays,
    Promptable,
)
from fovea.steps.base import Context, Step

HITS = "fovea_embedding_cache_hits_total"
MISSES = "fovea_embedding_cache_misses_total"


class EncodeImage(Step):
    """Pixels -> a picture's embedding, cached by the same pixels.

    So a second prompt on a picture does not wait for the encoder. Triton's own response cache
    cannot do this on a GPU: it refuses answers in GPU memory, and it knows a network by its version
    number, not by its weights.
    """

    METRICS: ClassVar[Mapping[str, str]] = {
        HITS: "Image embeddings found in the cache",
        MISSES: "Image embeddings computed by the image network",
    }
    # Enough that a batch of the encoder fills while another one runs.
    WORKERS = 16
    CALLS_MODELS = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        [cuts] = self.roles.values()
        assert isinstance(cuts, Promptable)
        self._network = cuts.image_network
        self._outputs = [tensor.name for tensor in self._network.outputs]
        self._cache = ArrayCache(self.setting("cache_bytes", int))

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        key = _digest(*(inputs[tensor.name] for tensor in self._network.inputs))
        kept = {name: self._cache.get((key, name)) for name in self._outputs}
        found = {name: array for name, array in kept.items() if array is not None}
        if len(found) == len(self._outputs):
            self.context.count(HITS, 1)
            return found
        batch = {name: array[None] for name, array in inputs.items()}
        answer = self.context.call_model(self._network.name, batch, self._outputs)
        embeddings = {name: array[0].copy() for name, array in answer.items()}
        for name, array in embeddings.items():
            self._cache.put((key, name), array)
        self.context.count(MISSES, 1)
        return embeddings


def _digest(*arrays: NDArray[Any]) -> bytes:
    """A key that tells arrays of one shape and dtype apart."""
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


class SelectMasks(Step):
    """The decoder's answer -> one mask per prompt as COCO RLE, with its score; no padding."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        [cuts] = self.roles.values()
        assert isinstance(cuts, Promptable)
        self._cuts = cuts

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        height, width = inputs[ORIGINAL_SIZE.name].tolist()
        asked = np.flatnonzero((inputs[POINT_LABELS.name] != PADDING).any(axis=1))
        masks = [
            self._cuts.encode_mask(mask, (height, width)) for mask in inputs[LOW_RES_MASKS][asked]
        ]
        return {"masks": np.array(masks, np.object_), "mask_scores": inputs[IOU_SCORES][asked]}
