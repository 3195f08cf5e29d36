"""Train the demo RT-DETR: where is which of all things? Its backbone starts as the demo ConvNeXt.

`python -m demo.train_rt_detr [--resume]`
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from transformers import ConvNextForImageClassification, RTDetrForObjectDetection

from demo import train_convnext
from demo.detection_loss import Targets, cell_centres, decoder_loss, dense_loss
from demo.pixels import IMAGENET_MEAN, IMAGENET_STD, normalised
from demo.replay import ReplayedScenes, Squares
from demo.rt_detr_config import EDGE, STRIDES, image_processor, new_model
from demo.scenes import OBJECT_COUNT_ODDS, make_scene, scene_rng
from demo.things import INDEX_OF_NAME, LABELS
from demo.training import CHECKPOINTS_FOLDER, Losses, Plan, Training, arguments

FOLDER = CHECKPOINTS_FOLDER / "rt_detr"
STEPS = 1800
RATE = 1e-3
FRESH, OLD = 8, 16
# Of the scenes before they are squashed, which is how a detector sees them.
SCENE_EDGE = 200
MOST = len(OBJECT_COUNT_ODDS)
NOTHING = -1


@dataclass(frozen=True)
class AllThings:
    """Numbered scenes of the training split, squashed, with the box of each of their things."""

    first_seed: int

    def squares(self, step: int) -> Squares:
        """uint8 (FRESH, EDGE, EDGE, 3) and float32 (FRESH, MOST, 5): class and cxcywh as fractions
        of the picture; a class of `NOTHING` fills up."""
        pictures = np.zeros((FRESH, EDGE, EDGE, 3), np.uint8)
        truths = np.full((FRESH, MOST, 5), NOTHING, np.float32)
        for index in range(FRESH):
            scene = make_scene(self.first_seed + step * FRESH + index, size=SCENE_EDGE)
            height, width = scene.image.shape[:2]
            pictures[index] = cv2.resize(scene.image, (EDGE, EDGE), interpolation=cv2.INTER_AREA)
            for row, item in zip(truths[index], scene.objects, strict=False):
                left, top, right, bottom = item.box_xyxy
                box = (left + right) / width, (top + bottom) / height
                size = (right - left) / width, (bottom - top) / height
                row[:] = (INDEX_OF_NAME[item.label], box[0] / 2, box[1] / 2, *size)
        return pictures, truths


def mirrored(rng: np.random.Generator, squares: Squares) -> Squares:
    """Half of the pictures, with their boxes."""
    pictures, truths = squares[0].copy(), squares[1].copy()
    turned = rng.random(len(pictures)) < 0.5
    pictures[turned] = pictures[turned, :, ::-1]
    centres = truths[turned, :, 1]
    truths[turned, :, 1] = np.where(truths[turned, :, 0] == NOTHING, centres, 1 - centres)
    return pictures, truths


def targets_of(truths: np.ndarray) -> Targets:
    """What a batch should detect: a class is to the loss what a single token is."""
    things = [torch.from_numpy(truth[truth[:, 0] != NOTHING]) for truth in truths]
    one_hot = torch.eye(len(LABELS))
    return Targets(
        boxes=[rows[:, 1:] for rows in things],
        tokens=[one_hot[rows[:, 0].long()] for rows in things],
        text_mask=torch.ones(len(truths), len(LABELS), dtype=torch.bool),
        sizes_hw=[(EDGE, EDGE)] * len(truths),
    )


def losses(model: RTDetrForObjectDetection, squares: Squares, centres: torch.Tensor) -> Losses:
    """Decoder losses of every layer and the dense encoder loss, as the demo GroundingDINO's."""
    pictures, truths = squares
    pixels = normalised(pictures, IMAGENET_MEAN, IMAGENET_STD)
    targets = targets_of(truths)
    out = model.model(pixel_values=torch.from_numpy(pixels).permute(0, 3, 1, 2))
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
    """Save the model and its processor as a hub checkpoint would be."""
    model.save_pretrained(FOLDER)
    image_processor().save_pretrained(FOLDER)


def main() -> None:
    """Train and save the checkpoint."""
    args = arguments(__doc__, STEPS)
    plan = Plan("rt_detr", args.steps, FRESH + OLD, RATE, slow_prefix="model.backbone")
    classifier = ConvNextForImageClassification.from_pretrained(train_convnext.FOLDER)
    training = Training(new_model(classifier), plan, resume=args.resume or args.export_only)
    centres = cell_centres(EDGE, STRIDES)
    if not args.export_only:
        scenes = ReplayedScenes(AllThings((args.seed + 900) * 10_000_000), fresh=FRESH, old=OLD)
        training.run(
            lambda step: losses(
                training.model, mirrored(scene_rng(step, "train mirrors"), scenes(step)), centres
            )
        )
    export(training.average)


if __name__ == "__main__":
    main()
