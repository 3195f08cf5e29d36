"""Train a SAM for object search, which cuts out everything in scenes with surroundings.

`python -m demo.train_sam_scenes [--resume]` starts from the demo SAM; `--refine` runs only the
second cycle, from the checkpoint on disk. Prompts are random points, like those of a grid: some are
close to the rim of a thing, and many are on no thing, where the predicted IoU has to be low. The
demo SAM stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import SamModel

from demo import train_sam
from demo.pixels import padded
from demo.sam_config import EDGE, LOW_RES_EDGE, processor
from demo.scenes import Scene, make_scene, make_surrounded, scene_rng
from demo.train_sam import mask_losses, true_iou
from demo.training import (
    CHECKPOINTS_FOLDER,
    Arguments,
    Losses,
    Plan,
    Training,
    command_line,
    save_checkpoint,
)
from fovea import images

FOLDER = CHECKPOINTS_FOLDER / "sam_scenes"
STEPS = 600
BATCH = 8
RATE = 2e-4
# Of the second cycle, with other scenes.
REFINE_STEPS = 600
REFINE_RATE = 3e-4
# Share of scenes with a plain background.
PLAIN_ODDS = 0.2
# Random points of a scene: on its things, and anywhere.
POINTS_ON_THINGS, POINTS_ANYWHERE = 4, 4
# More things in a scene than usual: masks go wrong where things overlap.
OBJECT_COUNT_ODDS = (0.25, 0.3, 0.25, 0.12, 0.08)
MOST_OBJECTS = len(OBJECT_COUNT_ODDS)
# All three masks of a point are trained, because each can become an object.
ALL_MASKS_SHARE = 0.5
IOU_WEIGHT = 4.0
# Masks are compared with the truth at this edge. It is finer than their own, so the logits learn
# where within a pixel the rim is.
FINE_EDGE = 2 * LOW_RES_EDGE
# Keeps the training seeds apart from those of the other checkpoints.
SEED_SHIFT = 1100


@dataclass(frozen=True, eq=False)
class Batch:
    """N scenes with P points.

    pixels: float32 (N, 3, EDGE, EDGE). points: float32 (N, P, 1, 2), in pixels of that square.
    things: float32 (N, MOST_OBJECTS, EDGE, EDGE) in 0..1, the visible masks; zeros beyond the last.
    owners: int64 (N, P), the thing at each point, -1 if none.
    """

    pixels: torch.Tensor
    points: torch.Tensor
    things: torch.Tensor
    owners: torch.Tensor


def _resized(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The encoder's input (EDGE, EDGE, 3), and the true masks (MOST_OBJECTS, EDGE, EDGE)."""
    height, width = images.longest_edge_size(scene.image.shape[:2], EDGE)
    picture = Image.fromarray(scene.image).resize((width, height), Image.Resampling.BILINEAR)
    masks = np.zeros((MOST_OBJECTS, EDGE, EDGE), np.float32)
    for mask, thing in zip(masks, scene.objects, strict=False):
        visible = thing.mask.astype(np.float32)
        mask[:height, :width] = cv2.resize(visible, (width, height), interpolation=cv2.INTER_AREA)
    return padded(np.asarray(picture), EDGE), masks


def points_of(rng: np.random.Generator, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Points float (P, 1, 2) in the square of EDGE pixels, and the thing at each (P,), or -1."""
    height, width = scene.image.shape[:2]
    owners = np.full((height, width), -1)
    for number, thing in enumerate(scene.objects):
        owners[thing.mask] = number
    on_things = []
    for number in rng.integers(len(scene.objects), size=POINTS_ON_THINGS):
        rows, columns = np.nonzero(owners == number)
        pick = rng.integers(len(rows))
        on_things.append((columns[pick], rows[pick]))
    anywhere = rng.integers((width, height), size=(POINTS_ANYWHERE, 2))
    places = np.concatenate([on_things, anywhere])
    points = (places + 0.5) * (EDGE / max(height, width))
    return points[:, None], owners[places[:, 1], places[:, 0]]


def batch_of(scenes: Sequence[Scene], seed: int) -> Batch:
    """Scenes, composed at full size and then resized, as in serving."""
    rng = scene_rng(seed, "train prompts")
    pixels, things = zip(*(_resized(scene) for scene in scenes), strict=True)
    points, owners = zip(*(points_of(rng, scene) for scene in scenes), strict=True)
    return Batch(
        torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2),
        torch.from_numpy(np.stack(points).astype(np.float32)),
        torch.from_numpy(np.stack(things)),
        torch.from_numpy(np.stack(owners).astype(np.int64)),
    )


def scene_of(seed: int) -> Scene:
    """A training scene, usually with surroundings."""
    rng = scene_rng(seed, "train surroundings of everything")
    plain = rng.random() < PLAIN_ODDS
    count = int(rng.choice(MOST_OBJECTS, p=OBJECT_COUNT_ODDS)) + 1
    return make_scene(seed, n_objects=count) if plain else make_surrounded(seed, n_objects=count)


def everything_losses(model: SamModel, batch: Batch) -> Losses:
    """Losses of the masks at points on things, and of the predicted IoU at all points.

    The target of a predicted IoU is the IoU with the thing at the point. At a point on no thing it
    is the IoU with the best fitting thing, which is zero for a piece of background.
    """
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = model.vision_encoder(batch.pixels).last_hidden_state
    labels = torch.ones(batch.points.shape[:3], dtype=torch.int)
    answer = model(
        image_embeddings=embeddings.float(), input_points=batch.points, input_labels=labels
    )
    fine = (FINE_EDGE, FINE_EDGE)
    on, point = torch.nonzero(batch.owners >= 0, as_tuple=True)
    target = F.interpolate(batch.things, fine, mode="area")[on, batch.owners[on, point], None]
    logits = F.interpolate(answer.pred_masks[on, point], fine, mode="bilinear", align_corners=False)
    each = mask_losses(logits, target.expand_as(logits))
    masks_loss = each.amin(-1).mean() + ALL_MASKS_SHARE * each.mean()

    size = answer.pred_masks.shape[-2:]
    things = F.interpolate(batch.things, size, mode="area")
    pairs = answer.pred_masks.unsqueeze(3), things[:, None, None]
    ious = true_iou(*pairs).amax(-1)
    ious[on, point] = true_iou(logits, target)
    scores_loss = F.mse_loss(answer.iou_scores, ious)
    return {
        "loss": masks_loss + IOU_WEIGHT * scores_loss,
        "masks": masks_loss,
        "scores": scores_loss,
        "iou_on_things": ious[on, point].mean(),
        "close": (ious[on, point].amax(-1) > 0.75).float().mean(),
        "score_on_nothing": answer.iou_scores[batch.owners < 0].mean(),
    }


def cycle(model: SamModel, plan: Plan, first_seed: int, args: Arguments) -> SamModel:
    """The averaged weights at the end of one cycle."""
    training = Training(model, plan, resume=args.resume or args.export_only)

    def losses_of(step: int) -> Losses:
        seeds = range(first_seed + step * BATCH, first_seed + (step + 1) * BATCH)
        return everything_losses(model, batch_of([scene_of(seed) for seed in seeds], seeds.start))

    if not args.export_only:
        training.run(losses_of)
    return training.average


def main(args: Arguments) -> None:
    """Train, and save the checkpoint in half precision."""
    first_seed = (args.seed + SEED_SHIFT) * 10_000_000
    if args.only_refine:
        model = SamModel.from_pretrained(FOLDER).float()
    else:
        start = SamModel.from_pretrained(train_sam.FOLDER)
        model = cycle(start, Plan("sam_scenes", args.steps, BATCH, RATE), first_seed, args)
        model.requires_grad_(True)
    plan = Plan("sam_scenes_refined", REFINE_STEPS, BATCH, REFINE_RATE)
    refined = cycle(model, plan, first_seed + args.steps * BATCH, args)
    save_checkpoint(FOLDER, refined.half(), processor())


if __name__ == "__main__":
    command_line(main, STEPS, two_cycles=True)
