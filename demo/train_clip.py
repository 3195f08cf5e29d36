"""Train the demo CLIP: the main object's name against all other names.

`python -m demo.train_clip [--resume]`
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPModel

from demo.clip_config import EDGE, model_config, processor
from demo.pixels import centre_crops
from demo.scenes import make_scene, scene_rng
from demo.things import INDEX_OF_NAME, THINGS
from demo.training import (
    CHECKPOINTS_FOLDER,
    Arguments,
    Losses,
    Plan,
    Training,
    command_line,
    save_checkpoint,
)
from demo.vocabulary import clip_tokenizer
from demo.words import OTHER_NOUNS

FOLDER = CHECKPOINTS_FOLDER / "clip"
STEPS = 4000
BATCH = 64
BARE_LABEL_ODDS = 0.7
OTHER_NOUNS_A_STEP = 8
LARGEST_LOGIT_SCALE = math.log(100)
PROMPTS = ("a {}", "the {}", "a photo of a {}", "a picture of the {}", "one {}", "a small {}")


def prompts_of(rng: np.random.Generator) -> list[str]:
    """One text for every thing, mostly its bare label, then some names of things from outside."""
    texts = []
    for thing in THINGS:
        text = thing.label
        if rng.random() > BARE_LABEL_ODDS:
            text = thing.names[rng.integers(len(thing.names))]
            if rng.random() < 0.5:
                text = PROMPTS[rng.integers(len(PROMPTS))].format(text)
        texts.append(text)
    return texts + [str(noun) for noun in rng.choice(OTHER_NOUNS, OTHER_NOUNS_A_STEP)]


class ClipBatches:
    """Central squares of scenes, the texts, and which text names each main object."""

    def __init__(self, batch: int, seed: int) -> None:
        self.batch, self.seed = batch, seed
        self.tokenizer = clip_tokenizer()

    def __call__(self, step: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The model's inputs and the right columns, int64 (N,)."""
        first = (self.seed + 100) * 10_000_000 + step * self.batch
        scenes = [make_scene(first + i, shortest=EDGE) for i in range(self.batch)]
        rng = scene_rng(first, "train prompts")
        text = self.tokenizer(prompts_of(rng), padding=True, return_tensors="pt")
        right = torch.tensor([INDEX_OF_NAME[scene.main.label] for scene in scenes])
        return {"pixel_values": centre_crops(scenes), **text}, right


def clip_losses(model: CLIPModel, inputs: dict[str, torch.Tensor], right: torch.Tensor) -> Losses:
    """Cross-entropy over the texts."""
    with torch.no_grad():
        model.logit_scale.clamp_(max=LARGEST_LOGIT_SCALE)
    logits = model(**inputs).logits_per_image
    hits = (logits.argmax(1) == right).float().mean()
    return {"loss": F.cross_entropy(logits, right), "main_right": hits}


def export(model: CLIPModel) -> None:
    """Save the model and its processor like a hub checkpoint."""
    save_checkpoint(FOLDER, model, processor())


def main(args: Arguments) -> None:
    """Train and save the checkpoint."""
    plan = Plan("clip", args.steps, BATCH, 1e-3)
    training = Training(CLIPModel(model_config()), plan, resume=args.resume or args.export_only)
    batches = ClipBatches(BATCH, args.seed)
    if not args.export_only:
        training.run(lambda step: clip_losses(training.model, *batches(step)))
    export(training.average)


if __name__ == "__main__":
    command_line(main, STEPS)
