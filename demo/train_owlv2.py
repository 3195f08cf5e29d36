"""Train the demo OWLv2: which patches of the picture belong to a named object, and its box.

`python -m demo.train_owlv2 [--resume]`
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPModel, Owlv2ForObjectDetection

from demo import train_clip
from demo.detection_loss import QUALITY_FLOOR, box_loss, focal, iou_and_giou
from demo.owlv2_config import EDGE, GRID, PATCH, new_model, processor
from demo.pixels import CLIP_MEAN, CLIP_STD, normalised
from demo.scenes import Scene, make_scene, scene_rng
from demo.things import INDEX_OF_NAME
from demo.train_clip import prompts_of
from demo.training import (
    CHECKPOINTS_FOLDER,
    Arguments,
    Losses,
    Plan,
    Training,
    command_line,
    save_checkpoint,
)
from demo.vocabulary import CLIP_MAX_TOKENS, clip_tokenizer

FOLDER = CHECKPOINTS_FOLDER / "owlv2"
STEPS = 3500
BATCH = 16
CLASS_WEIGHT = 4.0
OBJECTNESS_WEIGHT = 0.5
NOBODY = -1


@dataclass(frozen=True, eq=False)
class Truth:
    """The object that every patch of N pictures belongs to.

    Attributes:
        texts: int64 (N, GRID²), the column of the text that names its object, or `NOBODY`.
        boxes: float32 (N, GRID², 4), cxcywh of its object relative to the padded square.
    """

    texts: torch.Tensor
    boxes: torch.Tensor


def padded_squares(scenes: list[Scene]) -> torch.Tensor:
    """CLIP-normalised scenes, padded bottom and right with black: float32 (N, 3, EDGE, EDGE).

    As in OWLv2's processor, black is padded before normalising.
    """
    pixels = np.zeros((len(scenes), EDGE, EDGE, 3), np.uint8)
    for square, scene in zip(pixels, scenes, strict=True):
        height, width = scene.image.shape[:2]
        square[:height, :width] = scene.image
    return torch.from_numpy(normalised(pixels, CLIP_MEAN, CLIP_STD)).permute(0, 3, 1, 2)


def truth_of(scenes: list[Scene]) -> Truth:
    """A patch belongs to the object at its middle."""
    texts = np.full((len(scenes), GRID, GRID), NOBODY, np.int64)
    boxes = np.zeros((len(scenes), GRID, GRID, 4), np.float32)
    half = PATCH // 2
    for index, scene in enumerate(scenes):
        for item in scene.objects:
            shown = item.mask[half::PATCH, half::PATCH]
            rows, columns = np.nonzero(shown)
            texts[index, rows, columns] = INDEX_OF_NAME[item.label]
            left, top, right, bottom = item.box_xyxy
            box = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
            boxes[index, rows, columns] = np.array(box, np.float32) / EDGE
    flat = torch.from_numpy(texts).flatten(1), torch.from_numpy(boxes).flatten(1, 2)
    return Truth(*flat)


class Owlv2Batches:
    """Scenes on padded squares, the texts, and the object of every patch."""

    def __init__(self, batch: int, seed: int) -> None:
        self.batch, self.seed = batch, seed
        self.tokenizer = clip_tokenizer()

    def __call__(self, step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor], Truth]:
        """Pixels, the texts' tokens, the truth."""
        first = (self.seed + 400) * 10_000_000 + step * self.batch
        scenes = [make_scene(first + i, size=EDGE) for i in range(self.batch)]
        rng = scene_rng(first, "train prompts")
        text = self.tokenizer(
            prompts_of(rng), padding="max_length", max_length=CLIP_MAX_TOKENS, return_tensors="pt"
        )
        return padded_squares(scenes), dict(text), truth_of(scenes)


def owlv2_losses(
    model: Owlv2ForObjectDetection,
    pixels: torch.Tensor,
    text: dict[str, torch.Tensor],
    truth: Truth,
) -> Losses:
    """Focal loss of every patch and text, boxes of the patches that belong to an object.

    A patch's target is the IoU of its box: the best patch of an object scores highest.
    """
    grid, _ = model.image_embedder(pixels)
    features = grid.flatten(1, 2)
    boxes = model.box_predictor(features, grid)
    embeds = model.owlv2.get_text_features(**text).pooler_output
    logits, _ = model.class_predictor(features, embeds.expand(len(pixels), -1, -1))

    owned = truth.texts != NOBODY
    count = owned.sum().clamp_min(1)
    iou, _ = iou_and_giou(boxes[owned].detach(), truth.boxes[owned])
    quality = torch.zeros(owned.shape)
    quality[owned] = QUALITY_FLOOR + (1 - QUALITY_FLOOR) * iou
    columns = torch.arange(logits.shape[-1])
    target = (truth.texts[..., None] == columns) * quality[..., None]
    classes = focal(logits, target, torch.ones_like(logits, dtype=torch.bool)) / count
    regression = box_loss(boxes[owned], truth.boxes[owned]) / count
    objectness = F.binary_cross_entropy_with_logits(model.objectness_predictor(features), quality)
    right = (logits.argmax(-1) == truth.texts)[owned].float().mean()
    return {
        "loss": CLASS_WEIGHT * classes + regression + OBJECTNESS_WEIGHT * objectness,
        "classes": classes,
        "boxes": regression,
        "objectness": objectness,
        "iou": iou.mean(),
        "patches_right": right,
    }


def export(model: Owlv2ForObjectDetection) -> None:
    """Save the model and its processor like a hub checkpoint."""
    save_checkpoint(FOLDER, model, processor())


def main(args: Arguments) -> None:
    """Train and save the checkpoint."""
    plan = Plan("owlv2", args.steps, BATCH, 1e-3)
    model = new_model(CLIPModel.from_pretrained(train_clip.FOLDER))
    training = Training(model, plan, resume=args.resume or args.export_only)
    batches = Owlv2Batches(BATCH, args.seed)
    if not args.export_only:
        training.run(lambda step: owlv2_losses(training.model, *batches(step)))
    export(training.average)


if __name__ == "__main__":
    command_line(main, STEPS)
