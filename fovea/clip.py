"""CLIP: which of the candidate phrases is the picture about?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fovea import images
from fovea.images import Picture
from fovea.specs import ModelSpec, Queue, TensorSpec
from fovea.tokenizer import FixedLengthTexts

IMAGE_ENCODER = "clip_image_encoder"
TEXT_ENCODER = "clip_text_encoder"

# Around the tokens of a text: its start and its end.
SPECIAL_TOKENS = 2


@dataclass(frozen=True)
class ClipSpec:
    """What a CLIP checkpoint fixes.

    image_size: edge of the square picture in pixels. mean, std: of RGB in [0, 1].
    text_length: tokens, all texts are padded to it. logit_scale: cosine to logit.
    resize_edge: what the shortest edge is resized to before the crop; 0 is image_size.
    resample: Pillow's code of the filter.
    """

    image_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    embed_dim: int
    text_length: int
    pad_token_id: int
    logit_scale: float
    resize_edge: int = 0
    resample: int = int(images.BICUBIC)


def image_encoder(spec: ClipSpec, *, max_batch_size: int, queue: Queue) -> ModelSpec:
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


def text_encoder(spec: ClipSpec, *, max_batch_size: int, queue: Queue) -> ModelSpec:
    """input_ids, attention_mask int64 [T] -> text_embeds float32 [D] of length 1."""
    return ModelSpec(
        name=TEXT_ENCODER,
        backend="onnxruntime",
        inputs=(
            TensorSpec("input_ids", "INT64", (spec.text_length,)),
            TensorSpec("attention_mask", "INT64", (spec.text_length,)),
        ),
        outputs=(TensorSpec("text_embeds", "FP32", (spec.embed_dim,)),),
        max_batch_size=max_batch_size,
        queue=queue,
        instance_kind="KIND_AUTO",
        warmup=True,
    )


def resized_hw(size_hw: tuple[int, int], spec: ClipSpec) -> tuple[int, int]:
    """The size (h, w) that a picture of `size_hw` is resized to."""
    return images.shortest_edge_size(size_hw, spec.resize_edge or spec.image_size)


def preprocess(picture: Picture, spec: ClipSpec) -> NDArray[np.uint8]:
    """uint8 [3, S, S]: shortest edge to S or what the spec says, centre crop."""
    filter_ = images.Resampling(spec.resample)
    return images.to_chw(
        picture.resized_crop(resized_hw(picture.hw, spec), spec.image_size, filter_)
    )


def label_scores(
    image_embeds: NDArray[np.float32], label_embeds: NDArray[np.float32], logit_scale: float
) -> NDArray[np.float32]:
    """Softmax over the labels of the scaled cosines: [D], [L, D] -> float32 [L]."""
    logits = logit_scale * (label_embeds @ image_embeds)
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum(), np.float32)


class TextTokens(FixedLengthTexts):
    """The checkpoint's tokenizer.json, padded to the text length; longer texts are refused."""

    def __init__(self, path: Path, spec: ClipSpec) -> None:
        super().__init__(path, spec.pad_token_id, spec.text_length, SPECIAL_TOKENS)
