"""CLIP: pictures and texts in one space; tells which of the labels a picture is about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fovea import images
from fovea.families.towers import image_tower, text_tower
from fovea.geometry import Geometry
from fovea.probabilities import softmax
from fovea.roles import TOKENIZER, Embedder
from fovea.specs import ModelSpec
from fovea.tokenizer import FixedLengthTexts

# A text's start and end tokens.
SPECIAL_TOKENS = 2


@dataclass(frozen=True)
class ClipSpec:
    """What a CLIP checkpoint fixes.

    image_size: edge of the square picture in pixels. text_length: tokens that all texts are padded
    to. logit_scale: cosine to logit. resize_edge: the shortest edge before the crop; 0 means
    image_size. resample: Pillow's code of the filter. squashed_hw: height and width that every
    picture is resized to before the crop, instead of resize_edge; () keeps its proportions.
    """

    image_size: int
    embed_dim: int
    text_length: int
    pad_token_id: int
    logit_scale: float
    resize_edge: int = 0
    resample: int = int(images.BICUBIC)
    squashed_hw: tuple[int, ...] = ()


class Clip(Embedder[ClipSpec]):
    """Scores are the softmax over the labels of the scaled cosines."""

    Spec = ClipSpec

    @property
    def geometry(self) -> Geometry:
        edge = self.spec.image_size
        return Geometry(
            rule="squash" if self.spec.squashed_hw else "shortest_edge",
            edges=self.spec.squashed_hw or (self.spec.resize_edge or edge,),
            output_hw=(edge, edge),
            resample=self.spec.resample,
            crop=self.spec.squashed_hw != (edge, edge),
        )

    @property
    def image_network(self) -> ModelSpec:
        name = self.network_name("image_encoder")
        return image_tower(name, self.geometry, self.spec.embed_dim)

    @property
    def text_network(self) -> ModelSpec:
        name = self.network_name("text_encoder")
        return text_tower(name, self.spec.text_length, self.spec.embed_dim)

    def tokens(self, folder: Path) -> FixedLengthTexts:
        return ClipTokens(self.file(folder, TOKENIZER), self.spec)

    def label_scores(
        self, image_embeds: NDArray[np.float32], label_embeds: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        logits = self.spec.logit_scale * (label_embeds @ image_embeds)
        return softmax(logits)


class ClipTokens(FixedLengthTexts):
    """The checkpoint's tokenizer.json, padded to the text length; longer texts are refused."""

    def __init__(self, path: Path, spec: ClipSpec) -> None:
        super().__init__(path, spec.pad_token_id, spec.text_length, SPECIAL_TOKENS)
