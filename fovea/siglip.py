"""SigLIP: does this text fit the picture? Each text is answered by itself, yes or no."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fovea import images
from fovea.images import Picture
from fovea.specs import ModelSpec, Queue, TensorSpec
from fovea.tokenizer import FixedLengthTexts

IMAGE_ENCODER = "siglip_image_encoder"
TEXT_ENCODER = "siglip_text_encoder"

# The end of a text, and SentencePiece's mark of a word's start, which no character stands for.
SPECIAL_TOKENS = 2


@dataclass(frozen=True)
class SiglipSpec:
    """What a SigLIP checkpoint fixes.

    image_size: edge of the square picture in pixels. mean, std: of RGB in [0, 1].
    text_length: tokens, all texts are padded to it; the model has no attention mask and reads the
    last position, padding or not. logit_scale, logit_bias: cosine to logit.
    resample: Pillow's code of the filter.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    embed_dim: int
    text_length: int
    pad_token_id: int
    logit_scale: float
    logit_bias: float
    resample: int = int(images.BICUBIC)


def image_encoder(spec: SiglipSpec, *, max_batch_size: int, queue: Queue) -> ModelSpec:
    """pixel_values uint8 [3, S, S] -> image_embeds float32 [D] of length 1."""
    return ModelSpec(
        name=IMAGE_ENCODER,
        backend="onnxruntime",
        inputs=(TensorSpec("pixel_values", "UINT8", (3, spec.image_size, spec.image_size)),),
        outputs=(TensorSpec("image_embeds", "FP32", (spec.embed_dim,)),),
        max_batch_size=max_batch_size,
        queue=queue,
        instance_kind="KIND_AUTO",
        warmup=True,
    )


def text_encoder(spec: SiglipSpec, *, max_batch_size: int, queue: Queue) -> ModelSpec:
    """input_ids int64 [T] -> text_embeds float32 [D] of length 1."""
    return replace(
        image_encoder(spec, max_batch_size=max_batch_size, queue=queue),
        name=TEXT_ENCODER,
        inputs=(TensorSpec("input_ids", "INT64", (spec.text_length,)),),
        outputs=(TensorSpec("text_embeds", "FP32", (spec.embed_dim,)),),
    )


def preprocess(picture: Picture, spec: SiglipSpec) -> NDArray[np.uint8]:
    """uint8 [3, S, S]: the whole picture, squashed to a square whatever its proportions."""
    size_hw = (spec.image_size, spec.image_size)
    return images.to_chw(picture.resize(size_hw, images.Resampling(spec.resample)))


def label_scores(
    image_embeds: NDArray[np.float32],
    label_embeds: NDArray[np.float32],
    *,
    logit_scale: float,
    logit_bias: float,
) -> NDArray[np.float32]:
    """Sigmoid of the scaled and shifted cosines: [D], [L, D] -> float32 [L].

    Other labels have no part in a label's score. Formula: Zhai et al., "Sigmoid Loss for Language
    Image Pre-Training" (ICCV 2023); transformers' `SiglipModel.logits_per_image`.
    """
    logits = logit_scale * (label_embeds @ image_embeds) + logit_bias
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


class TextTokens:
    """The checkpoint's tokenizer.json, padded to the text length; longer texts are refused."""

    def __init__(self, path: Path, spec: SiglipSpec) -> None:
        self._texts = FixedLengthTexts(path, spec.pad_token_id, spec.text_length, SPECIAL_TOKENS)
        self.check = self._texts.check

    def encode(self, value: str) -> NDArray[np.int64]:
        """input_ids int64 [T]; raises InvalidText."""
        return self._texts.encode(value)[0]
