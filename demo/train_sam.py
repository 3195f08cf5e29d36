"""Train the demo SAM: masks from true boxes and from points inside.

`python -m demo.train_sam [--resume]`; with `--refine` only the second cycle, from the existing
checkpoint.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import SamModel

from demo.pixels import padded_batch
from demo.sam_config import DECODER_WIDTH, EDGE, LOW_RES_EDGE, new_model, processor
from demo.sam_hints import Hints, Truth, truth_of
from demo.scenes import Scene, SceneObject, make_scene, scene_rng
from demo.training import (
    CHECKPOINTS_FOLDER,
    Arguments,
    Losses,
    Plan,
    Training,
    command_line,
    save_checkpoint,
)

FOLDER = CHECKPOINTS_FOLDER / "sam"
STEPS = 7500
BATCH = 16
RATE = 7e-4
# Then the embedding serves only the masks: a second, shorter cycle without hints.
REFINE_STEPS = 2400
REFINE_RATE = 4e-4
# Masks fail where things overlap, so there are more such scenes (1 to 5 objects) than usual.
REFINE_OBJECT_COUNT_ODDS = (0.14, 0.34, 0.28, 0.15, 0.09)
BOXES, POINTS = 4, 2
# The other half of the boxes is slightly wrong, like a detector's.
EXACT_BOXES_SHARE = 0.5
LARGEST_BOX_JITTER = 0.08
# In this world a point is never ambiguous, so all three masks should be right.
ALL_MASKS_SHARE = 0.5
BOX_WEIGHT = 2.0
IOU_WEIGHT = 1.0


def jittered(rng: np.random.Generator, item: SceneObject, edge: int = EDGE) -> np.ndarray:
    """The true box, or one whose corners are off by some hundredths of its sides, float (4,).

    edge: the scene's longest; no corner lies beyond.
    """
    box = np.array(item.box_xyxy)
    if rng.random() < EXACT_BOXES_SHARE:
        return box
    sides = np.tile(box[2:] - box[:2], 2)
    jitter = rng.uniform(0, LARGEST_BOX_JITTER)
    return (box + rng.normal(0, jitter, 4) * sides).clip(0, edge)


def point_inside(rng: np.random.Generator, mask: np.ndarray) -> tuple[float, float]:
    """A point (x, y) of the mask, away from its rim: among the deepest half of its pixels."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    rows, columns = np.nonzero(depth >= np.median(depth[mask]))
    pick = rng.integers(len(rows))
    return float(columns[pick]) + 0.5, float(rows[pick]) + 0.5


def _target(item: SceneObject) -> np.ndarray:
    """The visible mask at the low resolution, float32 (LOW_RES_EDGE, LOW_RES_EDGE) in 0..1."""
    padded = np.zeros((EDGE, EDGE), np.float32)
    padded[: item.mask.shape[0], : item.mask.shape[1]] = item.mask
    return cv2.resize(padded, (LOW_RES_EDGE, LOW_RES_EDGE), interpolation=cv2.INTER_AREA)


class SamBatches:
    """Scenes with `BOXES` box and `POINTS` point prompts per picture.

    Args:
        object_count_odds: of 1, 2, … objects in a scene; None keeps the world's own.
    """

    def __init__(
        self, batch: int, seed: int, object_count_odds: tuple[float, ...] | None = None
    ) -> None:
        self.batch, self.seed, self.object_count_odds = batch, seed, object_count_odds

    def _scenes(self, first: int) -> list[Scene]:
        counts: list[int | None] = [None] * self.batch
        if odds := self.object_count_odds:
            rng = scene_rng(first, "train object counts")
            counts = [int(n) + 1 for n in rng.choice(len(odds), self.batch, p=odds)]
        return [make_scene(first + i, size=EDGE, n_objects=n) for i, n in enumerate(counts)]

    def _prompts(self, rng: np.random.Generator, scene: Scene) -> tuple[np.ndarray, ...]:
        picks = [scene.objects[i] for i in rng.integers(len(scene.objects), size=BOXES + POINTS)]
        boxes = np.stack([jittered(rng, item) for item in picks[:BOXES]])
        points = np.array([[point_inside(rng, item.mask)] for item in picks[BOXES:]])
        return boxes, points, np.stack([_target(item) for item in picks])

    def __call__(self, step: int) -> tuple[torch.Tensor | Truth, ...]:
        """Pixels (N, 3, EDGE, EDGE), boxes (N, B, 4), points (N, P, 1, 2), masks (N, B + P, l, l),
        and the heads' targets."""
        first = (self.seed + 200) * 10_000_000 + step * self.batch
        scenes = self._scenes(first)
        rng = scene_rng(first, "train prompts")
        boxes, points, masks = zip(*(self._prompts(rng, scene) for scene in scenes), strict=True)
        pixels, _ = padded_batch(scenes, EDGE)
        stacked = (np.stack(boxes), np.stack(points), np.stack(masks))
        prompts = (torch.from_numpy(a.astype(np.float32)) for a in stacked)
        return pixels, *prompts, truth_of(scenes)


def mask_losses(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus dice of every mask, (..., l, l) to (...)."""
    logits = logits.float()
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((-2, -1))
    # Small objects would vanish in a plain mean over the picture.
    entropy = entropy / target.mean((-2, -1)).clamp_min(0.02)
    probability = logits.sigmoid()
    shared = (probability * target).sum((-2, -1))
    dice = 1 - (2 * shared + 1) / (probability.sum((-2, -1)) + target.sum((-2, -1)) + 1)
    return 0.5 * entropy + dice


@torch.no_grad()
def true_iou(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """IoU of the binary masks, (..., l, l) to (...)."""
    ours, theirs = logits > 0, target > 0.5
    shared = (ours & theirs).sum((-2, -1))
    return shared / (ours | theirs).sum((-2, -1)).clamp_min(1)


class Trainee(nn.Module):
    """SAM together with the heads on its image embedding that only training uses."""

    def __init__(self, sam: SamModel) -> None:
        super().__init__()
        self.sam = sam
        self.hints = Hints(DECODER_WIDTH)


def sam_losses(
    trainee: Trainee,
    pixels: torch.Tensor,
    boxes: torch.Tensor,
    points: torch.Tensor,
    masks: torch.Tensor,
    truth: Truth,
    *,
    hinted: bool,
) -> Losses:
    """Mask 0 from boxes; the best of masks 1..3 from points; the IoU head on all of them.

    The model itself adds the padding point that SAM expects beside a lone point.
    """
    model = trainee.sam
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = model.vision_encoder(pixels).last_hidden_state
    embeddings = embeddings.float()
    hints = trainee.hints(embeddings, truth) if hinted else {}
    labels = torch.ones(points.shape[:3], dtype=torch.int)
    from_box = model(image_embeddings=embeddings, input_boxes=boxes, multimask_output=False)
    from_point = model(image_embeddings=embeddings, input_points=points, input_labels=labels)
    box_target, point_target = masks[:, :BOXES, None], masks[:, BOXES:, None]
    point_target = point_target.expand_as(from_point.pred_masks)

    box_loss = mask_losses(from_box.pred_masks, box_target).mean()
    each = mask_losses(from_point.pred_masks, point_target)
    point_loss = each.amin(-1).mean() + ALL_MASKS_SHARE * each.mean()
    box_iou = true_iou(from_box.pred_masks, box_target)
    point_iou = true_iou(from_point.pred_masks, point_target)
    iou_loss = F.mse_loss(from_box.iou_scores, box_iou)
    iou_loss = iou_loss + F.mse_loss(from_point.iou_scores, point_iou)
    chosen = from_point.iou_scores.argmax(-1, keepdim=True)
    return {
        "loss": BOX_WEIGHT * box_loss + point_loss + IOU_WEIGHT * iou_loss + sum(hints.values()),
        **hints,
        "iou_box": box_iou.mean(),
        "iou_point": point_iou.gather(-1, chosen).mean(),
        "iou_error": iou_loss,
    }


def export(model: SamModel) -> None:
    """Save the model and its processor like a hub checkpoint."""
    save_checkpoint(FOLDER, model, processor())


def learn_with_hints(trainee: Trainee, args: Arguments) -> None:
    """The first cycle, from random to averaged weights."""
    batches = SamBatches(BATCH, args.seed)
    plan = Plan("sam", args.steps, BATCH, RATE)
    training = Training(trainee, plan, resume=args.resume or args.export_only)
    if not args.export_only:
        training.run(lambda step: sam_losses(trainee, *batches(step), hinted=True))
    trainee.load_state_dict(training.average.state_dict())


def refine(trainee: Trainee, args: Arguments) -> SamModel:
    """The second cycle, on masks alone, with scenes that the first did not see."""
    batches = SamBatches(BATCH, args.seed, REFINE_OBJECT_COUNT_ODDS)
    plan = Plan("sam_refined", REFINE_STEPS, BATCH, REFINE_RATE)
    training = Training(trainee, plan, resume=args.resume or args.export_only)
    if not args.export_only:
        first = args.steps
        training.run(lambda step: sam_losses(trainee, *batches(first + step), hinted=False))
    return training.average.sam


def main(args: Arguments) -> None:
    """Train and save the checkpoint."""
    trainee = Trainee(new_model())
    if args.only_refine:
        trainee.sam.load_state_dict(SamModel.from_pretrained(FOLDER).state_dict())
    else:
        learn_with_hints(trainee, args)
    export(refine(trainee, args))


if __name__ == "__main__":
    command_line(main, STEPS, two_cycles=True)
