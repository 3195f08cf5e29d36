"""SigLIP: tells whether a text fits a picture, independently of other texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fovea import images
from fovea.families.towers import image_tower, text_tower
from fovea.geometry import Geometry
from fovea.probabilities import sigmoid
from fovea.roles import TOKENIZER, Embedder
from fovea.specs import ModelSpec
from fovea.tokenizer import FixedLengthTexts

# A text's end, and SentencePiece's mark of a word's start, which stands for no character.
SPECIAL_TOKENS = 2


@dataclass(frozen=True)
class SiglipSpec:
    """What a SigLIP checkpoint fixes.

    image_size: edge of the square picture in pixels. text_length: tokens that all texts are padded
    to; the model has no attention mask and reads the last position, padding or not. logit_scale,
    logit_bias: cosine to logit. resample: Pillow's code of the filter.
    """

    image_size: int
    embed_dim: int
    text_length: int
    pad_token_id: int
    logit_scale: float
    logit_bias: float
    resample: int = int(images.BICUBIC)


class Siglip(Embedder[SiglipSpec]):
    """Scores are sigmoids: a label's does not depend on other labels.

    Formula: Zhai et al., "Sigmoid Loss for Language Image Pre-Training" (ICCV 2023); transformers'
    `SiglipModel.logits_per_image`.
    """

    Spec = SiglipSpec

    @property
    def geometry(self) -> Geometry:
        size_hw = (self.spec.image_size, self.spec.image_size)
        return Geometry(
            rule="squash", edges=size_hw, output_hw=size_hw, resample=self.spec.resample
        )

    @property
    def image_network(self) -> ModelSpec:
        name = self.network_name("image_encoder")
        return image_tower(name, self.geometry, self.spec.embed_dim)

    @property
    def text_network(self) -> ModelSpec:
        name = self.network_name("text_encoder")
        return text_tower(name, self.spec.text_length, self.spec.embed_dim, mask=False)

    def tokens(self, folder: Path) -> FixedLengthTexts:
        spec, path = self.spec, self.file(folder, TOKENIZER)
        return FixedLengthTexts(
            path, spec.pad_token_id, spec.text_length, SPECIAL_TOKENS, mask=False
        )

    def label_scores(
        self, image_embeds: NDArray[np.float32], label_embeds: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        logits = self.spec.logit_scale * (label_embeds @ image_embeds) + self.spec.logit_bias
        return sigmoid(logits)
