"""OpenCLIP: CLIP in open_clip's format, with one of several towers for pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fovea.families.clip import SPECIAL_TOKENS, Clip
from fovea.families.towers import text_tower
from fovea.geometry import Geometry
from fovea.roles import TOKENIZER
from fovea.specs import ModelSpec
from fovea.tokenizer import FixedLengthTexts


class OpenClip(Clip):
    """Texts have no mask: they are read at their largest token, which is their end."""

    @property
    def geometry(self) -> Geometry:
        found = super().geometry
        return replace(found, crop_to_even=found.crop)

    @property
    def text_network(self) -> ModelSpec:
        name = self.network_name("text_encoder")
        return text_tower(name, self.spec.text_length, self.spec.embed_dim, mask=False)

    def tokens(self, folder: Path) -> FixedLengthTexts:
        spec, path = self.spec, self.file(folder, TOKENIZER)
        return FixedLengthTexts(
            path, spec.pad_token_id, spec.text_length, SPECIAL_TOKENS, mask=False
        )
