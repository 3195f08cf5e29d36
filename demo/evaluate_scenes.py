"""Measure the demo's CLIP for scenes: what they show, when and where.

`python -m demo.evaluate_scenes --scenes 300` writes the figures for its card.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from transformers import CLIPModel, CLIPProcessor

from demo.art import TRAINED_STYLES, UNSEEN_STYLE
from demo.scenes import Scene, make_surrounded
from demo.surroundings import PLACE_WORDS, TIME_WORDS
from demo.things import LABELS
from demo.train_clip_scenes import FOLDER
from demo.training import CHECKPOINTS_FOLDER

METRICS = CHECKPOINTS_FOLDER / "metrics_scenes.json"
FIRST_SEED = 50_000

Floats = NDArray[np.float32]


class ScenesReference:
    """transformers' own vectors of pictures and texts, of length 1."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.model = CLIPModel.from_pretrained(folder).eval()
        self.processor = CLIPProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def pictures(self, scenes: Sequence[Scene]) -> Floats:
        """float32 [N, D]."""
        inputs = self.processor(images=[scene.image for scene in scenes], return_tensors="pt")
        vectors = self.model.get_image_features(**inputs).pooler_output
        return F.normalize(vectors, dim=-1).numpy()

    @torch.inference_mode()
    def texts(self, words: Sequence[str]) -> Floats:
        """float32 [N, D]."""
        inputs = self.processor(text=list(words), padding=True, return_tensors="pt")
        return F.normalize(self.model.get_text_features(**inputs).pooler_output, dim=-1).numpy()


def measure(reference: ScenesReference, scenes: Sequence[Scene]) -> dict[str, float]:
    """The shares of scenes whose main thing, time and place have the nearest words."""
    right = {
        "thing": (LABELS, [scene.main.label for scene in scenes]),
        "time": (tuple(TIME_WORDS), [_around(scene)[0] for scene in scenes]),
        "place": (tuple(PLACE_WORDS), [_around(scene)[1] for scene in scenes]),
    }
    words = {
        "thing": LABELS,
        "time": [names[0] for names in TIME_WORDS.values()],
        "place": [names[0] for names in PLACE_WORDS.values()],
    }
    vectors = reference.pictures(scenes)
    figures = {}
    for name, (kinds, truth) in right.items():
        nearest = (vectors @ reference.texts(words[name]).T).argmax(axis=1)
        figures[name] = float(np.mean([kinds[i] == t for i, t in zip(nearest, truth, strict=True)]))
    return figures


def _around(scene: Scene) -> tuple[str, str]:
    assert scene.surroundings is not None
    return scene.surroundings.time, scene.surroundings.place


def held_out(count: int, styles: tuple[str, ...]) -> list[Scene]:
    seeds = track(range(FIRST_SEED, FIRST_SEED + count), description="scenes")
    return [make_surrounded(seed, split="search", styles=styles) for seed in seeds]


def report(
    title: str,
    scenes: int,
    measured: Callable[[list[Scene]], Mapping[str, float]],
    out: Path | None,
) -> None:
    """Measure so many scenes of the trained styles and of the unseen one, print and write."""
    figures: dict[str, float] = {}
    for prefix, styles in {"": TRAINED_STYLES, f"{UNSEEN_STYLE}_": (UNSEEN_STYLE,)}.items():
        found = measured(held_out(scenes, styles))
        figures |= {f"{prefix}{name}": round(value, 4) for name, value in found.items()}
    table = Table("figure", "value", title=title)
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)
    if out:
        out.write_text(json.dumps({"scenes": scenes, **figures}, indent=2) + "\n")


def main(
    scenes: Annotated[int, typer.Option(min=1, help="Held-out scenes of each style.")] = 300,
    out: Annotated[Path, typer.Option("--json")] = METRICS,
) -> None:
    """Measure, print and write."""
    torch.set_num_threads(1)
    reference = ScenesReference()
    title = f"CLIP of scenes, {scenes} scenes"
    report(title, scenes, lambda held: measure(reference, held), out)


if __name__ == "__main__":
    typer.run(main)
