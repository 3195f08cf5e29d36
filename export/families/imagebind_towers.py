"""ImageBind's encoders of audio, depth, thermal and IMU data, with names like OpenCLIP's.

Girdhar et al., "ImageBind: One Embedding Space To Bind Them All" (CVPR 2023): a class token and
patches go through OpenCLIP's transformer with `Shape.bias_kv`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from export.families.clip import unit
from export.families.open_clip_towers import OpenClipModel, Shape, Transformer
from fovea.families.imagebind import FRAMES, GREY_HW, MOTION
from fovea.mel import BANDS

# Upstream's constants, which cannot be read from the weights.
MEL_MEAN, MEL_STD = -4.268, 9.138
AUDIO_STRIDE = 10
MOTION_PATCH = 8
HEADS = {"audio": 12, "depth": 8, "thermal": 12, "imu": 8}


class GreyPatches(nn.Conv2d):
    """[N, H, W] -> [N, P, D]."""

    def forward(self, values: Tensor) -> Tensor:
        return super().forward(values.unsqueeze(1)).flatten(2).transpose(1, 2)


class MotionPatches(nn.Linear):
    """[N, axes, T] -> [N, T / MOTION_PATCH, D]."""

    def forward(self, values: Tensor) -> Tensor:
        batch, axes, length = values.shape
        steps = values.view(batch, axes, length // MOTION_PATCH, MOTION_PATCH)
        return super().forward(steps.transpose(1, 2).flatten(2))


def stem(modality: str, width: int, patch: int) -> tuple[nn.Module, int]:
    """The layer that makes a modality's patches, and their number; patch: edge of square ones."""
    if modality == "imu":
        axes, length = MOTION
        return MotionPatches(axes * MOTION_PATCH, width, bias=False), length // MOTION_PATCH
    stride = AUDIO_STRIDE if modality == "audio" else patch
    edges = (BANDS, FRAMES) if modality == "audio" else GREY_HW
    rows, columns = ((edge - patch) // stride + 1 for edge in edges)
    return GreyPatches(1, width, patch, stride, bias=False), rows * columns


class ModalityTower(nn.Module):
    """The input of `stem` -> [N, D], read at the class token."""

    def __init__(self, modality: str, shape: Shape, patch: int, embed_dim: int) -> None:
        super().__init__()
        width, scale = shape.width, shape.width**-0.5
        self.stem, patches = stem(modality, width, patch)
        self.stem_norm = nn.LayerNorm(width)
        self.cls_token = nn.Parameter(scale * torch.randn(1, 1, width))
        self.pos_embed = nn.Parameter(scale * torch.randn(1, patches + 1, width))
        self.transformer = Transformer(shape)
        self.ln_post = nn.LayerNorm(width, shape.eps)
        self.proj = nn.Linear(width, embed_dim, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        patches = self.stem_norm(self.stem(values))
        first = self.cls_token.expand(patches.shape[0], -1, -1)
        seen = self.transformer(torch.cat([first, patches], dim=1) + self.pos_embed)
        vectors: Tensor = self.proj(self.ln_post(seen[:, 0]))
        return vectors


class ImageBindModel(OpenClipModel):
    """OpenCLIP's two encoders, with its arguments, and a tower for each modality."""

    def __init__(self, *encoders: Any, modalities: Mapping[str, nn.Module]) -> None:
        super().__init__(*encoders)
        self.modalities = nn.ModuleDict(modalities)


class ModalityEncoder(nn.Module):
    """The input of a tower [N, …] -> embeds [N, D], of length 1."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, values: Tensor) -> Tensor:
        return unit(self.tower(values))


class AudioEncoder(nn.Module):
    """log_mel [N, clips, bands, frames] -> audio_embeds [N, D]: the mean of the clips' vectors."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, log_mel: Tensor) -> Tensor:
        batch, clips = log_mel.shape[:2]
        heard = unit(self.tower((log_mel.flatten(0, 1) - MEL_MEAN) / MEL_STD))
        return unit(heard.view(batch, clips, -1).mean(dim=1))
