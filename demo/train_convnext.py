"""Train the demo ConvNeXt: which of all things is the main one?

`python -m demo.train_convnext [--resume]`
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from transformers import ConvNextForImageClassification

from demo.convnext_config import EDGE, SHORTEST, image_processor, model_config
from demo.pixels import as_pixel_values
from demo.replay import FRESH, OLD, ReplayedScenes, Source
from demo.scenes import scene_rng
from demo.training import (
    CHECKPOINTS_FOLDER,
    Arguments,
    Losses,
    Plan,
    Training,
    command_line,
    save_checkpoint,
)

FOLDER = CHECKPOINTS_FOLDER / "convnext"
STEPS = 3000
RATE = 2e-3
LABEL_SMOOTHING = 0.1


def crops(rng: np.random.Generator, squares: np.ndarray) -> torch.Tensor:
    """Squares somewhere in larger ones, half of them mirrored: uint8 (N, S, S, 3) to float32
    (N, 3, EDGE, EDGE)."""
    corners = rng.integers(squares.shape[1] - EDGE + 1, size=(len(squares), 2))
    steps = rng.choice((1, -1), len(squares))
    pictures = [
        square[top : top + EDGE, left : left + EDGE][:, ::step]
        for square, (top, left), step in zip(squares, corners, steps, strict=True)
    ]
    return as_pixel_values(np.stack(pictures))


def losses(
    model: ConvNextForImageClassification, pixels: torch.Tensor, right: torch.Tensor
) -> Losses:
    """Smoothed cross-entropy over the things."""
    logits = model(pixel_values=pixels).logits
    return {
        "loss": F.cross_entropy(logits, right, label_smoothing=LABEL_SMOOTHING),
        "main_right": (logits.argmax(1) == right).float().mean(),
    }


def export(model: ConvNextForImageClassification) -> None:
    """Save the model and its processor like a hub checkpoint."""
    save_checkpoint(FOLDER, model, image_processor())


def main(args: Arguments) -> None:
    """Train and save the checkpoint."""
    plan = Plan("convnext", args.steps, FRESH + OLD, RATE)
    model = ConvNextForImageClassification(model_config()).to(memory_format=torch.channels_last)
    training = Training(model, plan, resume=args.resume or args.export_only)
    if not args.export_only:
        scenes = ReplayedScenes(Source((args.seed + 700) * 10_000_000, SHORTEST))

        def losses_at(step: int) -> Losses:
            squares, right = scenes(step)
            pixels = crops(scene_rng(step, "train crops"), squares)
            return losses(training.model, pixels, torch.from_numpy(right))

        training.run(losses_at)
    export(training.average)


if __name__ == "__main__":
    command_line(main, STEPS)
