"""Are pixels and tokens those of the checkpoint's own processors? Compared at every export."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from export.checkpoints import Checkpoint
from export.errors import ParityError
from export.network import sample_pixels
from export.pixels import Normalize, valid_mask
from fovea import clip, grounding_dino, sam
from fovea.clip import ClipSpec
from fovea.grounding_dino import GroundingDinoSpec
from fovea.images import Picture
from fovea.pipeline import PipelineSpec
from fovea.sam import SamSpec
from fovea.tokenizer import PaddedTokenizer

# Landscape, portrait, small, large, and one pixel thin; none square.
SIZES_HW = ((480, 640), (333, 250), (51, 49), (1080, 1920), (1, 40), (30, 1))
# In grey levels, of 255: resizing rounds to whole ones, perhaps the other way.
PIXEL_TOLERANCE = 1.001

TEXTS = (
    "a photo of a cat",
    "It's a Red T-shirt!",
    "  two   spaces ",
    "café, naïve",
    "St. Bernard",
    "80's 3/4",
    "红色的车 🚗",
)
CAPTIONS = ("a cat.", "cat. a red t-shirt.", "Café. st. bernard.", "红色的车 🚗.")

Spec = ClipSpec | GroundingDinoSpec | SamSpec
Floats = NDArray[np.float32]


def photograph(size_hw: tuple[int, int]) -> Image.Image:
    """Noise on smooth colour with hard edges: all that resampling filters differ on."""
    rng = np.random.default_rng(size_hw)
    pixels = sample_pixels(rng, (3, *size_hw), size_hw).transpose(1, 2, 0).copy()
    pixels[:: max(2, size_hw[0] // 9)] = (255, 0, 40)
    return Image.fromarray(pixels)


def check(
    checkpoints: dict[str, Checkpoint],
    pipeline: PipelineSpec,
    grounding_dino_edge: int | None = None,
) -> dict[str, Any]:
    """Compare with each checkpoint's processor and tokenizer; raises ParityError.

    grounding_dino_edge: the cap that the pipeline was read with. Pictures are decoded in full on
    both sides. Returns what was compared and, by family, the worst difference of a pixel in grey
    levels.
    """
    pictures = [photograph(size_hw) for size_hw in SIZES_HW]
    processors = {family: found.load_image_processor() for family, found in checkpoints.items()}
    _check_tokens("clip", TEXTS, _clip_tokens(checkpoints["clip"], pipeline.clip))
    _check_tokens("grounding_dino", CAPTIONS, _caption_tokens(checkpoints, pipeline))
    return {
        "sizes_hw": [list(size_hw) for size_hw in SIZES_HW],
        "texts": len(TEXTS) + len(CAPTIONS),
        "grey_levels": {
            family: round(
                max(
                    _check_pixels(family, processor, getattr(pipeline, family), picture, edge)
                    for picture in pictures
                ),
                4,
            )
            for family, processor in processors.items()
            for edge in (grounding_dino_edge if family == "grounding_dino" else None,)
        },
    }


def _check_pixels(
    family: str, processor: Any, spec: Spec, picture: Image.Image, edge: int | None
) -> float:
    """The worst difference of one picture, in grey levels; raises ParityError beyond tolerance."""
    ours, ours_hw = _ours(family, picture, spec)
    theirs, theirs_hw = _theirs(processor, picture, edge)
    shown = f"{family}: a picture of {picture.height} x {picture.width}"
    if ours_hw != theirs_hw:
        raise ParityError(f"{shown} becomes {ours_hw}, the checkpoint's processor has {theirs_hw}")
    if any(a < b for a, b in zip(ours.shape, theirs.shape, strict=True)):
        raise ParityError(f"{shown} fills {theirs.shape}, there is room for {ours.shape}")
    height, width = theirs.shape[1:]
    std = np.array(spec.std, np.float32).reshape(3, 1, 1)
    worst = float(np.abs((ours[:, :height, :width] - theirs) * std * 255).max())
    if not worst <= PIXEL_TOLERANCE:
        raise ParityError(
            f"{shown} differs by {worst:.3g} grey levels from the checkpoint's own "
            f"{type(processor).__name__} (tolerance {PIXEL_TOLERANCE})"
        )
    return worst


def _ours(family: str, picture: Image.Image, spec: Spec) -> tuple[Floats, tuple[int, int]]:
    """Normalised pixels as the network's first layers make them, and the picture's part of them."""
    preprocess: Any = {"clip": clip, "grounding_dino": grounding_dino, "sam": sam}[
        family
    ].preprocess
    made = preprocess(Picture(picture), spec)
    pixels, valid_hw = made if isinstance(made, tuple) else (made, np.array(made.shape[1:]))
    height, width = (int(edge) for edge in valid_hw)
    batch = torch.from_numpy(pixels)[None]
    mask = valid_mask(torch.tensor([[height, width]]), *batch.shape[2:]).unsqueeze(1)
    normalized = Normalize(spec.mean, spec.std)(batch) * mask
    return normalized[0].numpy(), (height, width)


def _theirs(
    processor: Any, picture: Image.Image, edge: int | None
) -> tuple[Floats, tuple[int, int]]:
    """The processor's own answer; with `edge`, told to go no further than that."""
    asked: dict[str, Any] = {}
    if edge:
        longest = min(edge, processor.size.longest_edge)
        shortest = min(longest, processor.size.shortest_edge)
        asked["size"] = {"shortest_edge": shortest, "longest_edge": longest}
        if processor.pad_size:
            asked["pad_size"] = {"height": longest, "width": longest}
    out = processor(picture, return_tensors="np", **asked)
    pixels = np.asarray(out["pixel_values"][0], np.float32)
    if "pixel_mask" in out:
        mask = np.asarray(out["pixel_mask"][0], bool)
        return pixels, (int(mask.any(axis=1).sum()), int(mask.any(axis=0).sum()))
    if "reshaped_input_sizes" in out:
        height, width = out["reshaped_input_sizes"][0]
        return pixels, (int(height), int(width))
    return pixels, (pixels.shape[1], pixels.shape[2])


def _check_tokens(family: str, texts: tuple[str, ...], encode: Any) -> None:
    for text in texts:
        ours, theirs = encode(text)
        if ours != theirs:
            raise ParityError(
                f"{family}: {text!r} becomes the tokens {ours[:12]}, "
                f"the checkpoint's own tokenizer has {theirs[:12]}"
            )


def _clip_tokens(checkpoint: Checkpoint, spec: ClipSpec) -> Any:
    theirs = checkpoint.load_tokenizer()
    tokenizer = PaddedTokenizer(checkpoint.tokenizer, spec.pad_token_id)

    def encode(text: str) -> tuple[list[int], list[int]]:
        ids = tokenizer.encode(text)
        length = max(len(ids), spec.text_length)
        padded = theirs(text, padding="max_length", max_length=length, truncation=False)
        return tokenizer.pad(ids, length)[0].tolist(), list(padded["input_ids"])

    return encode


def _caption_tokens(checkpoints: dict[str, Checkpoint], pipeline: PipelineSpec) -> Any:
    checkpoint = checkpoints["grounding_dino"]
    theirs = checkpoint.load_tokenizer()
    tokenizer = PaddedTokenizer(checkpoint.tokenizer, pipeline.grounding_dino.pad_token_id)
    return lambda text: (tokenizer.encode(text), list(theirs(text)["input_ids"]))
