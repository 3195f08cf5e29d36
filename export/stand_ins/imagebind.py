"""ImageBind's encoders: huge ones like imagebind_huge.pth, and tiny ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from export.families.imagebind_towers import HEADS, ImageBindModel, ModalityTower
from export.families.imagebind_weights import BEGINNINGS, CLIP_HEADS, EPS, PARTS, WEIGHTS
from export.families.open_clip_towers import Shape, VisionTransformer
from export.stand_ins.base import Build, add_noise
from export.stand_ins.clip import write_vocabulary
from export.stand_ins.open_clip import CLIP_TOKENS


@dataclass(frozen=True)
class Encoders:
    """imagebind_huge.pth; (width, layers) of each encoder."""

    vision: tuple[int, int]
    text: tuple[int, int]
    modalities: Mapping[str, tuple[int, int]]
    image_size: int
    patch_size: int
    embed_dim: int
    length: int
    tokens: int = 0

    def write(self, folder: Path) -> Path:
        vocabulary = len(write_vocabulary(folder, self.tokens))
        visual, text = (_shape(*size, CLIP_HEADS) for size in (self.vision, self.text))
        tower = VisionTransformer(visual, self.image_size, self.patch_size, self.embed_dim)
        modalities = {
            name: ModalityTower(name, _shape(*size, HEADS[name], bias_kv=True), 16, self.embed_dim)
            for name, size in self.modalities.items()
        }
        model = ImageBindModel(
            *(tower, text, self.length, vocabulary, self.embed_dim), modalities=modalities
        )
        add_noise(model)
        model.logit_scale.data.fill_(math.log(20))
        torch.save(upstream_state(model.state_dict()), folder / WEIGHTS)
        return folder


def _shape(width: int, layers: int, heads: int, *, bias_kv: bool = False) -> Shape:
    return Shape(width, layers, heads, 4 * width, quick_gelu=False, eps=EPS, bias_kv=bias_kv)


def upstream_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `open_clip_state`: spreads a kernel over the frames unevenly."""
    return {_upstream_name(name): _upstream(name, tensor) for name, tensor in state.items()}


def _upstream_name(name: str) -> str:
    theirs, ours = next((t, o) for t, o in BEGINNINGS.items() if name.startswith(o))
    key = theirs + name.removeprefix(ours)
    for part, ours_part in PARTS.items():
        key = key.replace(ours_part, part) if ".blocks." in key else key
    return key


def _upstream(name: str, tensor: Tensor) -> Tensor:
    if name == "visual.conv1.weight":
        return torch.stack([0.3 * tensor, 0.7 * tensor], dim=2)
    if name in ("visual.proj", "text_projection"):
        return tensor.T.contiguous()
    if name == "visual.class_embedding":
        return tensor.view(1, 1, -1)
    return tensor[None] if name.endswith("positional_embedding") else tensor


# Widths that the heads divide.
_TINY = {"audio": (24, 2), "depth": (16, 2), "thermal": (24, 2), "imu": (16, 2)}
_REAL = {"audio": (768, 12), "depth": (384, 12), "thermal": (768, 12), "imu": (512, 6)}

TINY: dict[str, Build] = {"imagebind": lambda: Encoders((32, 2), (32, 2), _TINY, 48, 16, 24, 32)}
REAL: dict[str, Build] = {
    "imagebind": lambda: Encoders(
        (1280, 32), (1024, 24), _REAL, 224, 14, 1024, 77, tokens=CLIP_TOKENS
    )
}
