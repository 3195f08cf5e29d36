"""ALIGN: an EfficientNet for pictures and a BERT for texts, in one space."""

from __future__ import annotations

from pathlib import Path

from fovea.families.clip import SPECIAL_TOKENS, Clip
from fovea.geometry import Geometry
from fovea.roles import TOKENIZER
from fovea.tokenizer import FixedLengthTexts


class Align(Clip):
    """As CLIP, but for the pixels: the picture loses its proportions, then its middle is cut out.

    `spec.logit_scale` is the inverse of the temperature, `spec.resize_edge` the edge before the
    crop. Formula: transformers' `AlignModel.forward`.
    """

    @property
    def geometry(self) -> Geometry:
        edge, resized = self.spec.image_size, self.spec.resize_edge
        return Geometry("squash", (resized, resized), (edge, edge), self.spec.resample, crop=True)

    def tokens(self, folder: Path) -> FixedLengthTexts:
        spec, path = self.spec, self.file(folder, TOKENIZER)
        return FixedLengthTexts(path, spec.pad_token_id, spec.text_length, SPECIAL_TOKENS)
