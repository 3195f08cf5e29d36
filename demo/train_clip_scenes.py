"""Teach the demo CLIP when and where a scene is ('at night', 'on the beach'), beside its things.

`python -m demo.train_clip_scenes [--resume]` starts from the demo's CLIP and writes another
checkpoint, for object search: the figures of the first one stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPModel

from demo.clip_config import EDGE, processor
from demo.pixels import centre_crops
from demo.scenes import Scene, make_scene, make_surrounded, scene_rng
from demo.surroundings import PLACE_WORDS, TIME_WORDS
from demo.things import INDEX_OF_NAME
from demo.train_clip import FOLDER as CLIP_FOLDER
from demo.train_clip import LARGEST_LOGIT_SCALE, prompts_of
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

FOLDER = CHECKPOINTS_FOLDER / "clip_scenes"
STEPS = 700
BATCH = 64
RATE = 5e-4
# Scenes with plain backgrounds, so that the first checkpoint's are not forgotten.
PLAIN_ODDS = 0.3
TIMES, PLACES = tuple(TIME_WORDS), tuple(PLACE_WORDS)
UNKNOWN = -100  # `cross_entropy` skips it
# Share of the learned weights in the checkpoint; the rest is the demo's CLIP, whose vectors of
# things depend less on where they are (Wortsman et al., "Robust fine-tuning of zero-shot models",
# 2022).
LEARNED = 0.85
# Shifts the seeds of this training away from those of the other checkpoints.
SEED_SHIFT = 700

Ints = np.ndarray


@dataclass(frozen=True, eq=False)
class Answers:
    """The right answers for N pictures.

    names, times, places: int64 (N,), the right column of each group of texts; UNKNOWN for a plain
    background. possible: bool (N, N), that caption j belongs to another picture but is true of i.
    """

    names: torch.Tensor
    times: torch.Tensor
    places: torch.Tensor
    possible: torch.Tensor


def caption_of(rng: np.random.Generator, scene: Scene) -> tuple[str, tuple[bool, bool]]:
    """'a car at night on the beach', and whether it says when and where."""
    label = scene.main.label
    text = label if rng.random() < 0.5 else f"a {label}"
    if scene.surroundings is None:
        return text, (False, False)
    says_when = bool(rng.random() < 0.6)
    says_where = not says_when or bool(rng.random() < 0.3)
    if says_when:
        text += f" {rng.choice(TIME_WORDS[scene.surroundings.time])}"
    if says_where:
        text += f" {rng.choice(PLACE_WORDS[scene.surroundings.place])}"
    return text, (says_when, says_where)


def _columns(scenes: list[Scene], names: tuple[str, ...], kind: str) -> Ints:
    """Indices of the scenes' times or places in `names`."""
    found = [getattr(scene.surroundings, kind, None) for scene in scenes]
    return np.array([UNKNOWN if one is None else names.index(one) for one in found])


class SceneBatches:
    """Central squares of scenes; texts: names, times, places, and each picture's own caption."""

    def __init__(self, batch: int, seed: int) -> None:
        self.batch, self.seed = batch, seed
        self.tokenizer = clip_tokenizer()

    def scene(self, seed: int) -> Scene:
        plain = scene_rng(seed, "train plain").random() < PLAIN_ODDS
        return make_scene(seed, shortest=EDGE) if plain else make_surrounded(seed, shortest=EDGE)

    def __call__(self, step: int) -> tuple[dict[str, torch.Tensor], Answers]:
        """The model's inputs and the right answers."""
        first = (self.seed + SEED_SHIFT) * 10_000_000 + step * self.batch
        scenes = [self.scene(first + i) for i in range(self.batch)]
        rng = scene_rng(first, "train prompts")
        texts = prompts_of(rng)
        for words in (*TIME_WORDS.values(), *PLACE_WORDS.values()):
            texts.append(str(rng.choice(words)))
        captions, said = zip(*(caption_of(rng, scene) for scene in scenes), strict=True)
        text = self.tokenizer([*texts, *captions], padding=True, return_tensors="pt")
        names = np.array([INDEX_OF_NAME[scene.main.label] for scene in scenes])
        times, places = _columns(scenes, TIMES, "time"), _columns(scenes, PLACES, "place")
        when, where = np.array(said).T
        true = names[:, None] == names
        true &= (times[:, None] == times) | ~when
        true &= (places[:, None] == places) | ~where
        np.fill_diagonal(true, val=False)
        right = Answers(*map(torch.from_numpy, (names, times, places, true)))
        return {"pixel_values": centre_crops(scenes), **text}, right


def scene_losses(model: CLIPModel, inputs: dict[str, torch.Tensor], right: Answers) -> Losses:
    """Cross-entropy over each group of texts, and over the captions of the batch."""
    with torch.no_grad():
        model.logit_scale.clamp_(max=LARGEST_LOGIT_SCALE)
    logits = model(**inputs).logits_per_image
    count = len(right.names)
    rest = len(TIMES) + len(PLACES)
    names, groups, captions = logits.split([logits.shape[1] - count - rest, rest, count], dim=1)
    times, places = groups.split([len(TIMES), len(PLACES)], dim=1)
    captions = captions.masked_fill(right.possible, float("-inf"))
    losses = {
        "names": F.cross_entropy(names, right.names),
        "times": F.cross_entropy(times, right.times, ignore_index=UNKNOWN),
        "places": F.cross_entropy(places, right.places, ignore_index=UNKNOWN),
        "captions": F.cross_entropy(captions, torch.arange(count)),
    }
    hits = {
        f"{name}_right": (of.argmax(1) == want)[want != UNKNOWN].float().mean()
        for name, of, want in (
            ("main", names, right.names),
            ("time", times, right.times),
            ("place", places, right.places),
        )
    }
    return {"loss": torch.stack(list(losses.values())).sum(), **losses, **hits}


def mixed(start: CLIPModel, learned: CLIPModel, share: float) -> CLIPModel:
    """`start` with its weights moved by `share` towards the learned ones."""
    with torch.no_grad():
        for one, other in zip(start.parameters(), learned.parameters(), strict=True):
            one.lerp_(other, share)
    return start


def main(args: Arguments) -> None:
    """Train and save the checkpoint."""
    plan = Plan("clip_scenes", args.steps, BATCH, RATE)
    model = CLIPModel.from_pretrained(CLIP_FOLDER)
    training = Training(model, plan, resume=args.resume or args.export_only)
    batches = SceneBatches(BATCH, args.seed)
    if not args.export_only:
        training.run(lambda step: scene_losses(training.model, *batches(step)))
    start = CLIPModel.from_pretrained(CLIP_FOLDER)
    save_checkpoint(FOLDER, mixed(start, training.average, LEARNED), processor())


if __name__ == "__main__":
    command_line(main, STEPS)
