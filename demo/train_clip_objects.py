"""Train the CLIP for object search on object crops, so that crops of the same thing are similar.

`python -m demo.train_clip_objects [--resume]` starts from the checkpoint that
`demo.train_clip_scenes` wrote, and replaces it. The losses of that script are kept, on whole
pictures, so that the model still knows scenes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPModel, SamModel

from demo import train_sam, train_sam_scenes
from demo.clip_config import processor
from demo.object_crops import NOTHING, ObjectCrops, make
from demo.pixels import CLIP_MEAN, CLIP_STD, normalised
from demo.scenes import scene_rng
from demo.things import LABELS
from demo.train_clip import prompts_of
from demo.train_clip_scenes import FOLDER, SceneBatches, scene_losses
from demo.training import (
    WORK_FOLDER,
    Arguments,
    Losses,
    Plan,
    Training,
    command_line,
    save_checkpoint,
)
from demo.vocabulary import clip_tokenizer

STEPS = 500
RATE = 5e-4
# Of a step: whole pictures, crops of things, crops of background.
PICTURES, THINGS, NOTHINGS = 24, 144, 32
# Scenes that the crops are made from, before the training.
SCENES = 2400
# Of these scenes; SAM was not trained on them.
FIRST_SEED = (train_sam_scenes.SEED_SHIFT + 100) * 10_000_000
# Of the softmax over crops: between crops, and between a name and crops.
CROP_TEMPERATURE, NAME_TEMPERATURE = 0.1, 0.05
# Range of the random brightness factor of a crop.
LIGHT = (0.8, 1.15)


@dataclass(frozen=True, eq=False)
class Crops:
    """pixels: float32 (N, 3, EDGE, EDGE), CLIP-normalised. names: int64 (N,), or NOTHING."""

    pixels: torch.Tensor
    names: torch.Tensor


class CropBatches:
    """Random crops of things and of background, with random mirroring and brightness."""

    def __init__(self, crops: ObjectCrops, seed: int) -> None:
        self.crops, self.seed = crops, seed
        self.things = np.flatnonzero(crops.names != NOTHING)
        self.nothings = np.flatnonzero(crops.names == NOTHING)

    def __call__(self, step: int) -> Crops:
        rng = scene_rng(self.seed * 10_000_000 + step, "train crops")
        rows = np.concatenate(
            [rng.choice(self.things, THINGS), rng.choice(self.nothings, NOTHINGS)]
        )
        pixels = self.crops.pixels[rows].astype(np.float32)
        mirrored = rng.random(len(rows)) < 0.5
        pixels[mirrored] = pixels[mirrored, :, :, ::-1]
        pixels *= rng.uniform(*LIGHT, (len(rows), 1, 1, 1)).astype(np.float32)
        channels_last = pixels.clip(0, 255).transpose(0, 2, 3, 1)
        values = normalised(channels_last, CLIP_MEAN, CLIP_STD).transpose(0, 3, 1, 2)
        return Crops(torch.from_numpy(values), torch.from_numpy(self.crops.names[rows]))


def supervised_contrastive(vectors: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
    """Crops of a name come together: L_out of Khosla et al., "Supervised contrastive learning".

    vectors: (N, D), of length 1. names: (N,). Crops of NOTHING are negatives for all others, and
    also for each other.
    """
    likeness = vectors @ vectors.T / CROP_TEMPERATURE
    likeness.fill_diagonal_(float("-inf"))
    alike = (names[:, None] == names) & (names != NOTHING)
    alike.fill_diagonal_(fill_value=False)
    log_shares = likeness.log_softmax(dim=1).masked_fill(~alike, 0)
    anchors = alike.any(dim=1)
    return -(log_shares.sum(1) / alike.sum(1).clamp_min(1))[anchors].mean()


def named_crops(vectors: torch.Tensor, texts: torch.Tensor, names: torch.Tensor) -> torch.Tensor:
    """Each name is closer to its own crops (N, D) than to all others, as in a text query.

    texts: (len(LABELS), D), of length 1.
    """
    log_shares = (texts @ vectors.T / NAME_TEMPERATURE).log_softmax(dim=1)
    right = names == torch.arange(len(LABELS))[:, None]
    asked = right.any(dim=1)
    return -((log_shares * right).sum(1) / right.sum(1).clamp_min(1))[asked].mean()


def crop_losses(model: CLIPModel, crops: Crops, text: dict[str, torch.Tensor]) -> Losses:
    """Crops against texts and against each other; the first texts are the names of the things."""
    vectors = F.normalize(model.get_image_features(crops.pixels).pooler_output, dim=-1)
    texts = F.normalize(model.get_text_features(**text).pooler_output, dim=-1)
    things = crops.names != NOTHING
    logits = model.logit_scale.exp() * vectors[things] @ texts.T
    losses = {
        "crop_names": F.cross_entropy(logits, crops.names[things]),
        "named_crops": named_crops(vectors, texts[: len(LABELS)], crops.names),
        "alike": supervised_contrastive(vectors, crops.names),
    }
    hits = (logits.argmax(1) == crops.names[things]).float().mean()
    return {"loss": torch.stack(list(losses.values())).sum(), **losses, "crop_right": hits}


def crops_on_disk() -> ObjectCrops:
    """Made once, with the demo SAM: its masks are looser than those in object search."""
    path = WORK_FOLDER / "object_crops.npz"
    if not path.exists():
        WORK_FOLDER.mkdir(parents=True, exist_ok=True)
        make(SamModel.from_pretrained(train_sam.FOLDER), FIRST_SEED, SCENES).save(path)
    return ObjectCrops.load(path)


def main(args: Arguments) -> None:
    """Train and save the checkpoint."""
    plan = Plan("clip_objects", args.steps, PICTURES + THINGS + NOTHINGS, RATE)
    training = Training(
        CLIPModel.from_pretrained(FOLDER), plan, resume=args.resume or args.export_only
    )
    model, tokenizer = training.model, clip_tokenizer()
    pictures = SceneBatches(PICTURES, args.seed + 1)
    crops = CropBatches(crops_on_disk(), args.seed)

    def losses_of(step: int) -> Losses:
        prompts = prompts_of(scene_rng(step, "train crop prompts"))
        text = dict(tokenizer(prompts, padding=True, return_tensors="pt"))
        of_pictures = scene_losses(model, *pictures(step))
        of_crops = crop_losses(model, crops(step), text)
        return {**of_pictures, **of_crops, "loss": of_pictures["loss"] + of_crops["loss"]}

    if not args.export_only:
        training.run(losses_of)
    save_checkpoint(FOLDER, training.average, processor())


if __name__ == "__main__":
    command_line(main, STEPS)
