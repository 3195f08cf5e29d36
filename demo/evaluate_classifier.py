"""Measure the demo ConvNeXt against the truth of held-out scenes.

`python -m demo.evaluate_classifier --scenes 500 --json OUT` asks transformers' own
image-classification pipeline which of all things is the main one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import torch
import typer
from PIL import Image
from rich.console import Console
from rich.progress import track
from transformers import pipeline

from demo.art import UNSEEN_STYLE
from demo.evaluate import Trial, make_trial, mean, single_object_trials, table_of
from demo.train_convnext import FOLDER

# Names the main thing of a picture.
Classify = Callable[[Image.Image], str]


def reference(folder: Path = FOLDER) -> Classify:
    """The checkpoint in transformers' pipeline."""
    ask = pipeline("image-classification", model=str(folder))

    def classify(image: Image.Image) -> str:
        return str(ask(image, top_k=1)[0]["label"])

    return classify


def accuracy(classify: Classify, trials: Iterable[Trial]) -> float:
    """Share of the scenes with the right name for the main thing, among all things."""
    return mean(classify(trial.image) == trial.scene.main.label for trial in trials)


def evaluate(classify: Classify, scenes: int) -> dict[str, float]:
    """Accuracy on scenes with one thing and with several, then on those in the unseen style."""
    several = (make_trial(i, n_objects=2 + i % 4) for i in range(scenes))
    few = range(max(1, scenes // 5))
    unseen = (make_trial(2_000_000 + i, n_objects=1, styles=(UNSEEN_STYLE,)) for i in few)
    asked = {
        "label_accuracy": single_object_trials(scenes),
        "label_accuracy_multi": several,
        f"{UNSEEN_STYLE}_label_accuracy_single": unseen,
    }
    return {name: accuracy(classify, track(trials, name)) for name, trials in asked.items()}


def main(
    scenes: int = 500,
    out: Annotated[Path | None, typer.Option("--json")] = None,
    threads: int = 1,
) -> None:
    """Measure the reference."""
    torch.set_num_threads(threads)
    figures = evaluate(reference(), scenes)
    Console().print(table_of(figures))
    if out:
        record = {"scenes": scenes} | {name: round(value, 4) for name, value in figures.items()}
        out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
