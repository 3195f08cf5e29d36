"""Train the demo DINOv2: its picture's vector learns to equal the demo CLIP's, without any text.

`python -m demo.train_dinov2 [--resume]`
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPModel, Dinov2Model

from demo import train_clip
from demo.clip_config import EDGE
from demo.dinov2_config import RESIZED, new_model, processor
from demo.pixels import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD, normalised
from demo.scenes import make_scene, scene_rng
from demo.training import (
    CHECKPOINTS_FOLDER,
    Arguments,
    Losses,
    Plan,
    Training,
    command_line,
    save_checkpoint,
)

FOLDER = CHECKPOINTS_FOLDER / "dinov2"
STEPS = 1800
BATCH = 64
RATE = 1e-3
# New scenes in a batch; the rest are among the last `REMEMBERED` ones.
FRESH = 16
REMEMBERED = 4096
TEMPERATURE = 0.1
# A cosine so low that no picture counts as its own neighbour.
NOBODY = -1e4
BRIGHTNESS = 0.2


@lru_cache(REMEMBERED)
def square(seed: int) -> np.ndarray:
    """The central square of a scene whose shortest edge is RESIZED: uint8 (RESIZED, RESIZED, 3)."""
    image = make_scene(seed, shortest=RESIZED).image
    height, width = image.shape[:2]
    top, left = (height - RESIZED) // 2, (width - RESIZED) // 2
    return image[top : top + RESIZED, left : left + RESIZED].copy()


def seeds_of(step: int, first: int, rng: np.random.Generator) -> list[int]:
    """FRESH new scenes and, as far as there are some, scenes of earlier steps."""
    new = first + step * FRESH
    oldest = max(first, new - REMEMBERED + BATCH)
    old = rng.integers(oldest, new, BATCH - FRESH) if step else []
    return [*range(new, new + FRESH), *map(int, old)]


class Dinov2Batches:
    """Whole scenes for the teacher; for the student a part, lit differently."""

    def __init__(self, seed: int) -> None:
        self.first = (seed + 700) * 10_000_000

    def __call__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures for the teacher and for the student, both float32 (N, 3, EDGE, EDGE)."""
        rng = scene_rng(self.first + step, "train views")
        whole, parts = [], []
        for seed in seeds_of(step, self.first, rng):
            image = square(seed)[:, :: rng.choice((-1, 1))]
            seen = cv2.resize(image, (EDGE, EDGE), interpolation=cv2.INTER_AREA)
            whole.append(normalised(seen, CLIP_MEAN, CLIP_STD))
            top, left = rng.integers(0, RESIZED - EDGE + 1, 2)
            part = image[top : top + EDGE, left : left + EDGE] * rng.uniform(
                1 - BRIGHTNESS, 1 + BRIGHTNESS
            )
            parts.append(normalised(part.clip(0, 255), IMAGENET_MEAN, IMAGENET_STD))
        return _batch(whole), _batch(parts)


def _batch(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures).astype(np.float32)).permute(0, 3, 1, 2)


def dinov2_losses(
    student: Dinov2Model, teacher: CLIPModel, whole: torch.Tensor, parts: torch.Tensor
) -> Losses:
    """The same vector as the teacher's, and the same neighbours within the batch."""
    with torch.no_grad():
        features = teacher.get_image_features(pixel_values=whole).pooler_output
        wanted = F.normalize(features, dim=-1)
    given = F.normalize(student(pixel_values=parts).pooler_output, dim=-1)
    cosine = (given * wanted).sum(-1).mean()
    neighbours = F.kl_div(_closeness(given), _closeness(wanted).exp(), reduction="batchmean")
    return {"loss": 1 - cosine + neighbours, "cosine": cosine, "neighbours": neighbours}


def _closeness(vectors: torch.Tensor) -> torch.Tensor:
    """Log of how near each of a batch is to each other one: unit vectors (N, D) -> (N, N)."""
    others = (vectors @ vectors.T).fill_diagonal_(NOBODY)
    return (others / TEMPERATURE).log_softmax(-1)


def export(model: Dinov2Model) -> None:
    """Save the model and its processor like a hub checkpoint."""
    save_checkpoint(FOLDER, model, processor())


def main(args: Arguments) -> None:
    """Train and save the checkpoint."""
    teacher = CLIPModel.from_pretrained(train_clip.FOLDER).eval().requires_grad_(False)
    plan = Plan("dinov2", args.steps, BATCH, RATE)
    training = Training(new_model(teacher), plan, resume=args.resume or args.export_only)
    batches = Dinov2Batches(args.seed)
    if not args.export_only:
        training.run(lambda step: dinov2_losses(training.model, teacher, *batches(step)))
    export(training.average)


if __name__ == "__main__":
    command_line(main, STEPS)
