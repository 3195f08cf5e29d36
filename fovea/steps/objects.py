"""Every object of a picture, with an embedder's vector for each."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from fovea import crops
from fovea.roles import (
    IMAGE_EMBEDS,
    ORIGINAL_SIZE,
    PIXEL_VALUES,
    VALID_HW,
    Arrays,
    ImageEmbedder,
)
from fovea.steps.base import Context
from fovea.steps.everything import Found, SegmentEverything
from fovea.steps.tensors import PICTURE


class EmbedObjects(SegmentEverything):
    """`SegmentEverything`, with a vector for each object's crop (`fovea.crops`)."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        [embeds] = [role for role in self.roles.values() if isinstance(role, ImageEmbedder)]
        self._embeds = embeds
        self._batch = self.setting("image_batch", int)

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        found = self.find(inputs)
        height, width = inputs[ORIGINAL_SIZE.name].tolist()
        embeddings = [np.zeros((0, self._embeds.embed_dim), np.float32)]
        for start in range(0, len(found.counts), self._batch):
            some = range(start, min(start + self._batch, len(found.counts)))
            embeddings.append(self._embed(inputs[PICTURE.name], found, some, (height, width)))
        return {**found.tensors, "embeddings": np.concatenate(embeddings)}

    def _embed(
        self,
        pixels: NDArray[np.uint8],
        found: Found,
        some: range,
        original_hw: tuple[int, int],
    ) -> NDArray[np.float32]:
        """float32 [n, D] for some of the objects."""
        made = [
            crops.crop(
                pixels,
                found.boxes_xyxy[i],
                original_hw,
                partial(self._cuts.mask_within, found.logits[i], original_hw),
                self._embeds.geometry,
            )
            for i in some
        ]
        network = self._embeds.image_network
        pixels_of, valid_of = zip(*made, strict=True)
        arrays = {PIXEL_VALUES: np.stack(pixels_of), VALID_HW: np.stack(valid_of)}
        feed = {tensor.name: arrays[tensor.name] for tensor in network.inputs}
        return self.context.call_model(network.name, feed, [IMAGE_EMBEDS])[IMAGE_EMBEDS].copy()
