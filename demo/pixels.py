"""Scenes as the networks see them, composed at the network's own resolution for training."""

from __future__ import annotations

import numpy as np
import torch

from demo.scenes import Scene
from demo.things import BACKGROUND, INDEX_OF_NAME

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalised(image: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """Values of 0 to 255 (..., 3) to float32 (..., 3)."""
    scale = 1 / (255 * np.asarray(std, np.float32))
    return image * scale - np.asarray(mean, np.float32) / np.asarray(std, np.float32)


def as_pixel_values(pictures: np.ndarray) -> torch.Tensor:
    """uint8 (N, H, W, 3) to ImageNet-normalised float32 (N, 3, H, W), channels last in memory."""
    values = normalised(pictures, IMAGENET_MEAN, IMAGENET_STD)
    return torch.from_numpy(values).permute(0, 3, 1, 2)


def padded(picture: np.ndarray, edge: int) -> np.ndarray:
    """uint8 (H, W, 3) to ImageNet-normalised float32 (edge, edge, 3), zeros bottom and right."""
    values = np.zeros((edge, edge, 3), np.float32)
    height, width = picture.shape[:2]
    values[:height, :width] = normalised(picture, IMAGENET_MEAN, IMAGENET_STD)
    return values


def padded_batch(scenes: list[Scene], edge: int) -> tuple[torch.Tensor, torch.Tensor]:
    """ImageNet-normalised pictures, padded bottom and right with zeros.

    Returns:
        pixel_values float32 (N, 3, edge, edge), channels last in memory; pixel_mask int64
        (N, edge, edge).
    """
    pixels = np.stack([padded(scene.image, edge) for scene in scenes])
    mask = np.zeros((len(scenes), edge, edge), np.int64)
    for index, scene in enumerate(scenes):
        height, width = scene.image.shape[:2]
        mask[index, :height, :width] = 1
    return torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(mask)


def centre_crops(scenes: list[Scene]) -> torch.Tensor:
    """CLIP-normalised central squares of scenes with one short side: float32 (N, 3, S, S)."""
    crops = []
    for scene in scenes:
        height, width = scene.image.shape[:2]
        short = min(height, width)
        top, left = (height - short) // 2, (width - short) // 2
        crop = scene.image[top : top + short, left : left + short]
        crops.append(normalised(crop, CLIP_MEAN, CLIP_STD))
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)


def class_map(scene: Scene) -> np.ndarray:
    """uint8 (H, W): the thing at every pixel, or `BACKGROUND`."""
    classes = np.full(scene.image.shape[:2], BACKGROUND, np.uint8)
    for item in scene.objects:
        classes[item.mask] = INDEX_OF_NAME[item.label]
    return classes


def class_maps(scenes: list[Scene], edge: int) -> torch.Tensor:
    """int64 (N, edge, edge): `class_map` of each, padded bottom and right with `BACKGROUND`."""
    classes = np.full((len(scenes), edge, edge), BACKGROUND, np.int64)
    for picture, scene in zip(classes, scenes, strict=True):
        height, width = scene.image.shape[:2]
        picture[:height, :width] = class_map(scene)
    return torch.from_numpy(classes)
