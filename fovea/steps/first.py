"""The first step: checks all that a caller sends, and prepares it for the networks."""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np

from fovea import crops, images, prompts, text
from fovea.geometry import Geometry
from fovea.images import Picture
from fovea.roles import (
    ORIGINAL_SIZE,
    POINT_COORDS,
    POINT_LABELS,
    Arrays,
    Embedder,
    LabelWriter,
    OpenDetector,
    Promptable,
    Tokens,
)
from fovea.steps.base import Context, Step, read_threshold
from fovea.steps.classes import read_top_k
from fovea.steps.everything import read_settings
from fovea.steps.settings import GeometryUse, Use
from fovea.steps.tensors import (
    SENT_COORDS,
    SENT_LABELS,
    text_tensor,
    verb_picture,
    verb_pixels,
)

# Lists of labels that are remembered as checked.
CHECKED_LISTS = 32


class PreprocessImage(Step):
    """IMAGE -> pixels in each requested geometry; the picture is decoded once.

    It also takes everything else that the caller sent, checks it and prepares it, so that no
    later step finds anything to refuse: it turns points into prompts, and labels in TEXT into what
    a detector reads, if one reads them directly; labels to be ranked first are only checked. Raises
    Overloaded if too many requests wait for a model that the verb needs.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._geometries = self.setting("geometries", tuple[GeometryUse, ...])
        uses: tuple[Use, ...] = self.setting("uses", tuple[Use, ...])
        # By the name of the pixels that a verb asks for: its settings.
        self._seen = {
            verb_pixels(use.verb, seen.geometry).name: (use, seen)
            for use in uses
            for seen in self._geometries
            if seen.geometry.name in use.sees
        }
        self._decode_margin = self.setting("decode_margin", float)
        detectors = [r for r in self.roles.values() if isinstance(r, OpenDetector)]
        self._writers: dict[str, LabelWriter] = {
            role.name: role.writer(context.folder) for role in detectors
        }
        self._checkers: dict[str, LabelWriter | Tokens] = {
            role.name: role.tokens(context.folder)
            for role in self.roles.values()
            if isinstance(role, Embedder)
        }
        self._checkers |= self._writers
        # By a detector's name: the first step's names of its text tensors -> their own names.
        self._texts = {
            role.name: {text_tensor(role, tensor).name: tensor.name for tensor in role.text_tensors}
            for role in detectors
        }
        self._check_once = lru_cache(CHECKED_LISTS)(self._check_labels)

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        seen = {name: found for name, found in self._seen.items() if name in wanted}
        uses = list(dict.fromkeys(use for use, _ in seen.values()))
        self.check_room([model for use in uses for model in self._called_models(use, inputs)])
        large = any(not made.small for _, made in seen.values())
        pictures = wanted & {verb_picture(use.verb).name for use in uses}
        least = partial(self._least_scale, large=large, cut=bool(pictures))
        scale = least if self._decode_margin else None
        picture = images.decode_picture(inputs["IMAGE"][0], self.limits, scale)
        for name in ("BOX_THRESHOLD", "TEXT_THRESHOLD", "THRESHOLD"):
            read_threshold(inputs, name, 0.0)
        read_top_k(inputs, 1)
        out: Arrays = {ORIGINAL_SIZE.name: np.array(picture.hw, np.int32)}
        if SENT_COORDS.name in inputs:
            out |= self._prompts(inputs, picture.hw)
        if "TEXT" in inputs:
            for use in uses:
                self._check_once(tuple(inputs["TEXT"].tolist()), use.checks)
            out |= self._written(inputs, wanted)
        for name, (_, made) in seen.items():
            out |= self._pixels(picture, name, made.geometry)
        return out | {name: crops.source(picture) for name in pictures}

    def _called_models(self, use: Use, inputs: Arrays) -> tuple[str, ...]:
        """The models that a request then waits for, each as often as it calls them."""
        finds = self.roles.get(use.finds)
        if not isinstance(finds, Promptable):
            return use.asks
        chunks = read_settings(inputs, finds.spec, self.limits).chunks
        return (*use.asks, *(finds.grid_decoder.name for _ in range(chunks)))

    def _least_scale(self, size_hw: tuple[int, int], *, large: bool, cut: bool) -> float:
        """The share of the picture's edges that the networks need, margin included.

        It is the same for all large geometries, whichever is requested: the same picture then gives
        the same pixels in every verb, and its embedding is found in the cache. cut: crops are cut
        from it as well.
        """
        geometries = [use.geometry for use in self._geometries if use.small or large]
        if any(geometry.resample == images.NEAREST for geometry in geometries):
            return 1.0  # these pixels are some of the picture's own, not of a smaller one
        targets = [max(geometry.resized_hw(size_hw)) for geometry in geometries]
        needed = self._decode_margin * max(targets)
        return max(needed, crops.PICTURE_EDGE if cut else 0) / max(size_hw)

    def _check_labels(self, encoded: tuple[bytes, ...], members: tuple[str, ...]) -> None:
        """Check that each of these members has room for the labels.

        The same list comes with many pictures, hence the cache around this.
        """
        labels = text.decode_labels(encoded, self.limits)
        for member in members:
            self._checkers[member].check(labels)

    def _written(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        out: Arrays = {}
        for member, names in self._texts.items():
            if not wanted.isdisjoint(names):
                labels = dict(enumerate(self.read_labels(inputs)))
                made = self._writers[member].write(labels)
                out |= {name: made[own] for name, own in names.items()}
        return out

    def _prompts(self, inputs: Arrays, original_size_hw: tuple[int, int]) -> Arrays:
        """The caller's points, in original pixels, padded to batch."""
        coords, labels = inputs[SENT_COORDS.name], inputs[SENT_LABELS.name]
        prompts.check_prompts(coords, labels, original_size_hw, self.limits)
        coords, labels = prompts.pad_prompts(*prompts.pad_points(coords, labels))
        return {POINT_COORDS.name: coords, POINT_LABELS.name: labels}

    def _pixels(self, picture: Picture, name: str, geometry: Geometry) -> Arrays:
        pixels, valid_hw = geometry.apply(picture)
        return {name: pixels, geometry.valid_hw.name: valid_hw}
