"""Train the demo SegFormer, which classifies pixels. Its encoder starts as the demo
GroundingDINO's backbone, and learns to give the same maps.

`python -m demo.train_segformer [--resume]`
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from transformers import SegformerForSemanticSegmentation, SwinBackbone

from demo.pixels import as_pixel_values
from demo.segformer_config import image_processor, new_model
from demo.stored_scenes import Bytes, training_views
from demo.things import BACKGROUND
from demo.train_grounding_dino import trained_backbone
from demo.training import (
    CHECKPOINTS_FOLDER,
    Arguments,
    Losses,
    Plan,
    Training,
    command_line,
    save_checkpoint,
)

FOLDER = CHECKPOINTS_FOLDER / "segformer"
STEPS = 1800
# Steps in which the teacher's maps are part of the loss.
TAUGHT_STEPS = 800
BATCH = 16
RATE = 1e-3
STRIDE = 4


def losses(
    model: SegformerForSemanticSegmentation,
    views: tuple[Bytes, Bytes],
    teacher: SwinBackbone | None = None,
) -> Losses:
    """Cross-entropy of each cell's middle and, with a teacher, the distance from its maps.

    The teacher only has maps of the last stages.
    """
    pictures, classes = views
    pixels = as_pixel_values(pictures)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(pixel_values=pixels, output_hidden_states=True)
    logits = out.logits.float()
    right = torch.from_numpy(classes[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]).long()
    entropy = F.cross_entropy(logits, right)
    distance = torch.zeros(()) if teacher is None else _distance(out.hidden_states, teacher, pixels)
    cells_right = (logits.argmax(1) == right)[right < BACKGROUND].float().mean()
    return {
        "loss": entropy + distance,
        "entropy": entropy,
        "distance": distance,
        "cells_right": cells_right,
    }


def _distance(
    maps: tuple[torch.Tensor, ...], teacher: SwinBackbone, pixels: torch.Tensor
) -> torch.Tensor:
    """Mean squared difference between the last maps and the teacher's, over its variances."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        wanted = [of.float() for of in teacher(pixels).feature_maps]
    pairs = zip(maps[-len(wanted) :], wanted, strict=True)
    return torch.stack([F.mse_loss(ours.float(), of) / of.var() for ours, of in pairs]).sum()


def export(model: SegformerForSemanticSegmentation) -> None:
    """Save the model and its processor like a hub checkpoint."""
    save_checkpoint(FOLDER, model.half(), image_processor())


def main(args: Arguments) -> None:
    """Train and save the checkpoint."""
    plan = Plan("segformer", args.steps, BATCH, RATE)
    teacher = trained_backbone()
    training = Training(new_model(teacher), plan, resume=args.resume or args.export_only)
    if not args.export_only:
        views = training_views(args.seed, BATCH)

        def losses_at(step: int) -> Losses:
            taught = step < TAUGHT_STEPS
            return losses(training.model, views(step), teacher if taught else None)

        training.run(losses_at)
    export(training.average)


if __name__ == "__main__":
    command_line(main, STEPS)
