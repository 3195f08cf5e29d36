"""Train the demo RT-DETR, a detector of all things, on the demo GroundingDINO's backbone.

`python -m demo.train_rt_detr [--resume]`
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from transformers import RTDetrForObjectDetection

from demo.calibrate import calibrate_rt_detr
from demo.detection_loss import Targets, cell_centres, decoder_loss, dense_loss
from demo.pixels import as_pixel_values
from demo.rt_detr_config import STRIDES, image_processor, new_model
from demo.stored_scenes import EDGE, Bytes, training_views
from demo.things import BACKGROUND, LABELS
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

FOLDER = CHECKPOINTS_FOLDER / "rt_detr"
STEPS = 1600
# The backbone is frozen while the rest learns to read its maps.
FROZEN_STEPS = 1000
BATCH = 16
RATE = 1e-3
# A thing that a window cuts counts if this much of each edge is left.
LEAST_SIDE = 8


def boxes_of(classes: Bytes) -> tuple[list[int], torch.Tensor]:
    """The things of a map uint8 (H, W), and their boxes float32 (n, 4): cxcywh as fractions."""
    things, boxes = [], []
    frame = np.array(classes.shape[::-1], np.float32)
    for thing in np.flatnonzero(np.bincount(classes.ravel(), minlength=BACKGROUND + 1)):
        left, top, width, height = cv2.boundingRect((classes == thing).astype(np.uint8))
        if thing != BACKGROUND and min(width, height) >= LEAST_SIDE:
            centre = np.array([left + width / 2, top + height / 2]) / frame
            boxes.append([*centre, *(np.array([width, height]) / frame)])
            things.append(int(thing))
    return things, torch.tensor(np.array(boxes, np.float32).reshape(-1, 4))


def targets_of(classes: Bytes) -> Targets:
    """What a batch should detect; the loss treats each class as a single token."""
    found = [boxes_of(of) for of in classes]
    one_hot = torch.eye(len(LABELS))
    return Targets(
        boxes=[boxes for _, boxes in found],
        tokens=[one_hot[things] for things, _ in found],
        text_mask=torch.ones(len(found), len(LABELS), dtype=torch.bool),
        sizes_hw=[(EDGE, EDGE)] * len(found),
    )


def losses(
    model: RTDetrForObjectDetection, views: tuple[Bytes, Bytes], centres: torch.Tensor
) -> Losses:
    """Decoder losses of every layer and the dense encoder loss, as for the demo GroundingDINO."""
    pictures, classes = views
    targets = targets_of(classes)
    out = model.model(pixel_values=as_pixel_values(pictures))
    layers = zip(
        out.intermediate_logits.unbind(1), out.intermediate_reference_points.unbind(1), strict=True
    )
    found = {
        f"decoder_{index}": decoder_loss(logits, boxes, targets)
        for index, (logits, boxes) in enumerate(layers)
    }
    encoded = out.enc_outputs_coord_logits.sigmoid()
    found["dense"] = dense_loss(out.enc_outputs_class, encoded, targets, centres)
    return {"loss": sum(found.values(), torch.zeros(())), **found}


def export(model: RTDetrForObjectDetection) -> None:
    """Save the model and its processor like a hub checkpoint, with its threshold."""
    save_checkpoint(FOLDER, model.half(), image_processor())
    calibrate_rt_detr(FOLDER)


def main(args: Arguments) -> None:
    """Train and save the checkpoint."""
    plan = Plan("rt_detr", args.steps, BATCH, RATE, slow_prefix="model.backbone")
    training = Training(new_model(trained_backbone()), plan, resume=args.resume or args.export_only)
    centres = cell_centres(EDGE, STRIDES)
    if not args.export_only:
        views = training_views(args.seed, BATCH)

        def losses_at(step: int) -> Losses:
            training.model.model.backbone.requires_grad_(step >= FROZEN_STEPS)
            return losses(training.model, views(step), centres)

        training.run(losses_at)
    export(training.average)


if __name__ == "__main__":
    command_line(main, STEPS)
