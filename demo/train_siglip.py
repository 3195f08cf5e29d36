"""Train the demo SigLIP: does this text name the main object? Yes or no, for each text.

`python -m demo.train_siglip [--resume]`
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPModel, SiglipModel

from demo import train_clip
from demo.clip_config import EDGE
from demo.pixels import normalised
from demo.scenes import Scene, make_scene, scene_rng
from demo.siglip_config import model_config, processor, tokenizer
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

FOLDER = CHECKPOINTS_FOLDER / "siglip"
STEPS = 3000
BATCH = 64
HALF = (0.5, 0.5, 0.5)
FIRST_LOGIT_SCALE, FIRST_LOGIT_BIAS = math.log(10), -4.0
LARGEST_LOGIT_SCALE = math.log(100)
# Only one of all texts is right: its loss would drown in the others'.
RIGHT_TEXT_WEIGHT = 8.0
# The ranking of the texts learns faster from a softmax than from yes and no alone.
RANKING_WEIGHT = 0.5


def new_model() -> SiglipModel:
    """A SigLIP whose picture tower starts with the demo CLIP's patches and layers."""
    model = SiglipModel(model_config())
    clip = CLIPModel.from_pretrained(train_clip.FOLDER).vision_model
    vision = model.vision_model
    with torch.no_grad():
        model.logit_scale.fill_(FIRST_LOGIT_SCALE)
        model.logit_bias.fill_(FIRST_LOGIT_BIAS)
        vision.embeddings.patch_embedding.weight.copy_(clip.embeddings.patch_embedding.weight)
        # CLIP's first position belongs to its class token.
        vision.embeddings.position_embedding.weight.copy_(
            clip.embeddings.position_embedding.weight[1:]
        )
        vision.encoder.load_state_dict(clip.encoder.state_dict())
    return model


def squashed(scenes: list[Scene]) -> torch.Tensor:
    """Whole scenes as squares, in [-1, 1]: float32 (N, 3, EDGE, EDGE)."""
    pictures = [
        normalised(cv2.resize(scene.image, (EDGE, EDGE), interpolation=cv2.INTER_AREA), HALF, HALF)
        for scene in scenes
    ]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


class SiglipBatches:
    """Squashed scenes, the texts, and which text names each main object."""

    def __init__(self, batch: int, seed: int) -> None:
        self.batch, self.seed = batch, seed
        self.tokenizer = tokenizer()

    def __call__(self, step: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The model's inputs and the right columns, int64 (N,)."""
        first = (self.seed + 300) * 10_000_000 + step * self.batch
        scenes = [make_scene(first + i, shortest=EDGE) for i in range(self.batch)]
        rng = scene_rng(first, "train prompts")
        text = self.tokenizer(prompts_of(rng), padding="max_length", return_tensors="pt")
        right = torch.tensor([INDEX_OF_NAME[scene.main.label] for scene in scenes])
        return {"pixel_values": squashed(scenes), "input_ids": text["input_ids"]}, right


def siglip_losses(
    model: SiglipModel, inputs: dict[str, torch.Tensor], right: torch.Tensor
) -> Losses:
    """Cross-entropy of each yes and no, and of the ranking."""
    with torch.no_grad():
        model.logit_scale.clamp_(max=LARGEST_LOGIT_SCALE)
    logits = model(**inputs).logits_per_image
    target = F.one_hot(right, logits.shape[1]).float()
    weight = 1 + (RIGHT_TEXT_WEIGHT - 1) * target
    each = F.binary_cross_entropy_with_logits(logits, target, weight=weight, reduction="none")
    pairs, ranking = each.sum(1).mean(), F.cross_entropy(logits, right)
    return {
        "loss": pairs + RANKING_WEIGHT * ranking,
        "pairs": pairs,
        "ranking": ranking,
        "main_right": (logits.argmax(1) == right).float().mean(),
    }


def export(model: SiglipModel) -> None:
    """Save the model and its processor like a hub checkpoint."""
    save_checkpoint(FOLDER, model, processor())


def main(args: Arguments) -> None:
    """Train and save the checkpoint."""
    plan = Plan("siglip", args.steps, BATCH, 1e-3)
    training = Training(new_model(), plan, resume=args.resume or args.export_only)
    batches = SiglipBatches(BATCH, args.seed)
    if not args.export_only:
        training.run(lambda step: siglip_losses(training.model, *batches(step)))
    export(training.average)


if __name__ == "__main__":
    command_line(main, STEPS)
