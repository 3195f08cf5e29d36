"""Compares pixels and tokens with the checkpoint's own processors, at every export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from export import families
from export.checkpoints import Checkpoint
from export.errors import ParityError
from export.family import TokenPair
from export.network import sample_pixels
from export.pixels import Normalize, valid_mask
from export.processor import Normalization
from fovea.geometry import Geometry
from fovea.images import Picture
from fovea.members import Member

# Landscape, portrait, small, large, and one pixel thin; none square.
SIZES_HW = ((480, 640), (333, 250), (51, 49), (1080, 1920), (1, 40), (30, 1))
# In grey levels of 255: resizing rounds to whole ones, possibly in opposite directions.
PIXEL_TOLERANCE = 1.001

Floats = NDArray[np.float32]


def photograph(size_hw: tuple[int, int]) -> Image.Image:
    """Noise on smooth colour with hard edges, which shows all differences between filters."""
    rng = np.random.default_rng(size_hw)
    pixels = sample_pixels(rng, (3, *size_hw), size_hw).transpose(1, 2, 0).copy()
    pixels[:: max(2, size_hw[0] // 9)] = (255, 0, 40)
    return Image.fromarray(pixels)


def check(checkpoint: Checkpoint, member: Member, options: dict[str, Any]) -> dict[str, Any]:
    """Compare with the checkpoint's processor and tokenizer; raises ParityError.

    options: those that the member was read with. Both sides decode pictures in full. Returns what
    was compared, and the worst difference of a pixel in grey levels.
    """
    family = families.load(member.family)
    processor = family.load_processor(checkpoint)
    if family.TEXTS:
        encode = family.token_pair(checkpoint, member.play())
        _check_tokens(member.name, family.TEXTS, encode)
    compared = _Pixels(
        member.name,
        member.play().geometry,
        family.normalization(processor),
        processor,
        family.processor_arguments(processor, options),
    )
    return {
        "sizes_hw": [list(size_hw) for size_hw in SIZES_HW],
        "texts": len(family.TEXTS),
        "grey_levels": round(max(compared.check(photograph(size)) for size in SIZES_HW), 4),
    }


@dataclass(frozen=True)
class _Pixels:
    """A picture's pixels by fovea, and by the checkpoint's processor with `arguments`."""

    name: str
    geometry: Geometry
    normal: Normalization
    processor: Any
    arguments: dict[str, Any]

    def check(self, picture: Image.Image) -> float:
        """The worst difference in grey levels; raises ParityError beyond tolerance."""
        ours, ours_hw = self._ours(picture)
        theirs, theirs_hw = self._theirs(picture)
        shown = f"{self.name}: a picture of {picture.height} x {picture.width}"
        if ours_hw != theirs_hw:
            raise ParityError(
                f"{shown} becomes {ours_hw}, the checkpoint's processor has {theirs_hw}"
            )
        if any(a < b for a, b in zip(ours.shape, theirs.shape, strict=True)):
            raise ParityError(f"{shown} fills {theirs.shape}, there is room for {ours.shape}")
        height, width = theirs.shape[1:]
        std = np.array(self.normal.std, np.float32).reshape(3, 1, 1)
        worst = float(np.abs((ours[:, :height, :width] - theirs) * std * 255).max())
        if not worst <= PIXEL_TOLERANCE:
            raise ParityError(
                f"{shown} differs by {worst:.3g} grey levels from the checkpoint's own "
                f"{type(self.processor).__name__} (tolerance {PIXEL_TOLERANCE})"
            )
        return worst

    def _ours(self, picture: Image.Image) -> tuple[Floats, tuple[int, int]]:
        """Pixels as the network's first layers normalise them, and the picture's part of them."""
        pixels, valid_hw = self.geometry.apply(Picture(picture))
        height, width = (int(edge) for edge in valid_hw)
        batch = torch.from_numpy(pixels)[None]
        mask = valid_mask(torch.tensor([[height, width]]), *batch.shape[2:]).unsqueeze(1)
        normalized = Normalize(self.normal.mean, self.normal.std)(batch) * mask
        return normalized[0].numpy(), (height, width)

    def _theirs(self, picture: Image.Image) -> tuple[Floats, tuple[int, int]]:
        out = self.processor(picture, return_tensors="np", **self.arguments)
        pixels = np.asarray(out["pixel_values"][0], np.float32)
        if "pixel_mask" in out:
            mask = np.asarray(out["pixel_mask"][0], bool)
            return pixels, (int(mask.any(axis=1).sum()), int(mask.any(axis=0).sum()))
        if "reshaped_input_sizes" in out:
            height, width = out["reshaped_input_sizes"][0]
            return pixels, (int(height), int(width))
        return pixels, (pixels.shape[1], pixels.shape[2])


def _check_tokens(name: str, texts: tuple[str, ...], encode: TokenPair) -> None:
    for text in texts:
        ours, theirs = encode(text)
        if ours != theirs:
            raise ParityError(
                f"{name}: {text!r} becomes the tokens {ours[:12]}, "
                f"the checkpoint's own tokenizer has {theirs[:12]}"
            )
