"""Measure members with their own classes against the truth of held-out scenes.

`python -m demo.evaluate_closed MEMBER --scenes 300` asks transformers itself: convnext for the main
thing, rt_detr for the boxes of all things, segformer for the class of each pixel.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track

from demo import closed_reference
from demo.art import UNSEEN_STYLE
from demo.closed_reference import Classify, ClassMap, Detect, Segment
from demo.evaluate import HIT_IOU, Trial, box_iou, make_trial, mean, single_object_trials, table_of
from demo.pixels import class_map
from demo.reference import Detection
from demo.segformer_config import CLASSES
from demo.training import CHECKPOINTS_FOLDER

UNSEEN_SEEDS = 2_000_000
Figures = dict[str, float]


def accuracy(classify: Classify, trials: Iterable[Trial]) -> float:
    """Share of the scenes in which the first label is the main thing."""
    return mean(classify(trial.image) == trial.scene.main.label for trial in trials)


def best_of(found: list[Detection], label: str) -> Detection | None:
    """The best box of a thing; None if it has none."""
    return next((detection for detection in found if detection.phrase == label), None)


def is_found(found: list[Detection], trial: Trial) -> bool:
    """Whether the best box for the named label is the named object."""
    best = best_of(found, trial.named.label)
    return best is not None and box_iou(best.box_xyxy, trial.named.box_xyxy) > HIT_IOU


def detection_figures(detect: Detect, trials: Iterable[Trial]) -> Figures:
    """As `demo.evaluate` asks open detectors: is the named thing found, the absent one not?"""
    answers = [(detect(trial.image), trial) for trial in trials]
    return {
        "box_recall": mean(is_found(found, trial) for found, trial in answers),
        "absent_rejection": mean(best_of(found, trial.absent) is None for found, trial in answers),
    }


class Overlap:
    """Pixels of each class in truth and answer, summed over pictures."""

    def __init__(self) -> None:
        self.pixels = np.zeros((len(CLASSES), len(CLASSES)), np.int64)

    def add(self, truth: ClassMap, answer: ClassMap) -> None:
        """Count a picture; both [H, W]."""
        pairs = truth.astype(np.int64) * len(CLASSES) + answer
        self.pixels += np.bincount(pairs.ravel(), minlength=self.pixels.size).reshape(
            self.pixels.shape
        )

    @property
    def mean_iou(self) -> float:
        """Mean IoU over the classes in truth or answers, including the background."""
        shared = np.diag(self.pixels)
        union = self.pixels.sum(0) + self.pixels.sum(1) - shared
        return mean((shared / np.maximum(union, 1))[union > 0])


def mean_iou(segment: Segment, trials: Iterable[Trial]) -> float:
    """Mean IoU of the classes, each over all pixels of the scenes."""
    overlap = Overlap()
    for trial in trials:
        overlap.add(class_map(trial.scene), segment(trial.image))
    return overlap.mean_iou


def _classifier(scenes: int) -> Figures:
    """Accuracy of scenes with one thing and with several, then of those in the unseen style."""
    several = (make_trial(i, n_objects=2 + i % 4) for i in range(scenes))
    few = range(UNSEEN_SEEDS, UNSEEN_SEEDS + max(1, scenes // 5))
    unseen = (make_trial(i, n_objects=1, styles=(UNSEEN_STYLE,)) for i in few)
    asked = {
        "label_accuracy": single_object_trials(scenes),
        "label_accuracy_multi": several,
        f"{UNSEEN_STYLE}_label_accuracy_single": unseen,
    }
    classify = closed_reference.classifier()
    return {name: accuracy(classify, track(trials, name)) for name, trials in asked.items()}


def _with_unseen(figures: Callable[[Iterable[Trial]], Figures], scenes: int) -> Figures:
    """The figures of the trained styles, then those of the unseen one, prefixed with its name."""
    few = range(UNSEEN_SEEDS, UNSEEN_SEEDS + max(1, scenes // 5))
    trained = figures(make_trial(i) for i in track(range(scenes), "trained styles"))
    unseen = figures(make_trial(i, styles=(UNSEEN_STYLE,)) for i in track(few, UNSEEN_STYLE))
    return trained | {f"{UNSEEN_STYLE}_{name}": value for name, value in unseen.items()}


def _detector(scenes: int) -> Figures:
    reference = closed_reference.RtDetrReference()
    return _with_unseen(lambda trials: detection_figures(reference, trials), scenes)


def _segmenter(scenes: int) -> Figures:
    reference = closed_reference.SegformerReference()
    return _with_unseen(lambda trials: {"mean_iou": mean_iou(reference, trials)}, scenes)


MEASURES = {
    "convnext": _classifier,
    "rt_detr": _detector,
    "segformer": _segmenter,
}


def main(
    member: Annotated[
        Literal["convnext", "rt_detr", "segformer"], typer.Argument(help="Which checkpoint.")
    ],
    scenes: Annotated[int, typer.Option(min=1, help="Held-out scenes for each figure.")] = 300,
    out: Annotated[Path | None, typer.Option("--json", help="Where the figures go.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of PyTorch.")] = 1,
) -> None:
    """Measure the reference, and keep the figures for its card."""
    torch.set_num_threads(threads)
    figures = MEASURES[member](scenes)
    Console().print(table_of(figures))
    record = {"scenes": scenes} | {name: round(value, 4) for name, value in figures.items()}
    path = out or CHECKPOINTS_FOLDER / f"metrics_{member}.json"
    path.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
