"""Measure a predictor against the truth of held-out scenes.

`python -m demo.evaluate --scenes 500 --json OUT` measures the PyTorch reference, and with
`--swapped` SigLIP, OWLv2 and HQ-SAM in place of CLIP, GroundingDINO and SAM. The metric functions
take any object with the methods of `Predictor`, so the same code measures the served client.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from demo.art import TRAINED_STYLES, UNSEEN_STYLE
from demo.reference import (
    Box,
    MainObject,
    Predictor,
    ReferencePipeline,
)
from demo.scenes import Scene, SceneObject, make_scene, scene_rng
from demo.swapped_reference import SwappedReference
from demo.things import LABELS
from demo.train_sam import point_inside

CANDIDATES = 5
# The least IoU of a box or mask that hits a thing, and of one that is close to it.
HIT_IOU, CLOSE_IOU = 0.5, 0.75
# First seed of the scenes with a single object.
SINGLE_OBJECT_SEEDS = 1_000_000


@dataclass(frozen=True, eq=False)
class Trial:
    """A scene with its questions.

    Attributes:
        scene: the truth.
        candidates: the main object's label, the other present ones, absent ones: 5, shuffled.
        absent: a label that the scene does not show.
        named: the object to detect and segment.
        point_xy: a point inside it, pixels.
    """

    scene: Scene
    candidates: list[str]
    absent: str
    named: SceneObject
    point_xy: tuple[float, float]

    @property
    def image(self) -> Image.Image:
        """The picture."""
        return Image.fromarray(self.scene.image)


def make_trial(seed: int, *, split: str = "test", n_objects: int | None = None,
               styles: tuple[str, ...] = TRAINED_STYLES) -> Trial:  # fmt: skip
    """The scene of this seed and its questions, always the same ones."""
    scene = make_scene(seed, split=split, n_objects=n_objects, styles=styles)
    rng = scene_rng(seed, f"{split} trial")
    missing = [label for label in LABELS if label not in scene.labels]
    absent = [str(label) for label in rng.choice(missing, CANDIDATES, replace=False)]
    others = [label for label in scene.labels if label != scene.main.label]
    candidates = [scene.main.label, *others, *absent][:CANDIDATES]
    shuffled = [candidates[i] for i in rng.permutation(CANDIDATES)]
    named = scene.objects[int(rng.integers(len(scene.objects)))]
    return Trial(scene, shuffled, absent[-1], named, point_inside(rng, named.mask))


def single_object_trials(count: int) -> list[Trial]:
    """Scenes with one object, always the same ones and none of the others."""
    return [make_trial(SINGLE_OBJECT_SEEDS + i, n_objects=1) for i in range(count)]


def box_iou(a: Box, b: Box) -> float:
    """IoU of two xyxy boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two bool masks of one shape."""
    return float((a & b).sum() / max(1, (a | b).sum()))


def mean(values: Iterable[float]) -> float:
    """The mean, as a plain float."""
    return float(np.mean(list(values)))


def label_is_right(predictor: Predictor, trial: Trial) -> float:
    """1 if the main object's label ranks first among the candidates."""
    ranked = predictor.rank_labels(trial.image, trial.candidates)
    return float(ranked[0].label == trial.scene.main.label)


def box_is_found(predictor: Predictor, trial: Trial) -> float:
    """1 if the best box for the named label is the named object."""
    found = predictor.detect(trial.image, f"{trial.named.label}.")
    return float(bool(found) and box_iou(found[0].box_xyxy, trial.named.box_xyxy) > HIT_IOU)


def absent_is_rejected(predictor: Predictor, trial: Trial) -> float:
    """1 if no box passes the threshold for a label that is not in the picture."""
    return float(not predictor.detect(trial.image, f"{trial.absent}."))


def iou_from_box(predictor: Predictor, trial: Trial) -> float:
    """IoU of the mask from the named object's true box."""
    cut = predictor.segment(trial.image, boxes=[trial.named.box_xyxy])[0]
    return mask_iou(cut.mask, trial.named.mask)


def iou_from_point(predictor: Predictor, trial: Trial) -> float:
    """IoU of the mask from a point inside the named object."""
    cut = predictor.segment(trial.image, points=[trial.point_xy])[0]
    return mask_iou(cut.mask, trial.named.mask)


@dataclass(frozen=True)
class EndToEnd:
    """One answer about the main object against the truth; a missing part counts as 0."""

    label: float
    box: float
    mask_iou: float


def end_to_end(predictor: Predictor, trial: Trial) -> EndToEnd:
    """Label, box and mask of the main object from the picture and five candidates."""
    return judge(predictor.main_object(trial.image, trial.candidates), trial)


def judge(answer: MainObject, trial: Trial) -> EndToEnd:
    """An answer about the main object against the truth of its scene."""
    truth = trial.scene.main
    right = float(answer.label == truth.label)
    if not answer.found or answer.box_xyxy is None or answer.mask is None:
        return EndToEnd(right, 0.0, 0.0)
    hit = float(box_iou(answer.box_xyxy, truth.box_xyxy) > HIT_IOU)
    return EndToEnd(right, hit, mask_iou(answer.mask, truth.mask))


METRICS: dict[str, Callable[[Predictor, Trial], float]] = {
    "box_recall": box_is_found,
    "absent_rejection": absent_is_rejected,
    "mask_iou_box": iou_from_box,
    "mask_iou_point": iou_from_point,
}


def measure(predictor: Predictor, trials: list[Trial], *, quiet: bool = False) -> dict[str, float]:
    """All figures over scenes of any number of objects."""
    rows: dict[str, list[float]] = {name: [] for name in METRICS}
    rows |= {"label_accuracy_multi": [], "label_accuracy_single": []}
    answers = []
    for trial in track(trials, description="scenes", disable=quiet):
        for name, metric in METRICS.items():
            rows[name].append(metric(predictor, trial))
        answers.append(end_to_end(predictor, trial))
        kind = "multi" if len(trial.scene.objects) > 1 else "single"
        rows[f"label_accuracy_{kind}"].append(label_is_right(predictor, trial))
    figures = {name: mean(values) for name, values in rows.items() if values}
    figures["main_object_label_accuracy"] = mean(a.label for a in answers)
    figures["main_object_box_recall"] = mean(a.box for a in answers)
    figures["main_object_mask_iou"] = mean(a.mask_iou for a in answers)
    return figures


def evaluate(predictor: Predictor, scenes: int, *, quiet: bool = False) -> dict[str, float]:
    """The figures for the trained styles, then those for the unseen style with its name in front.

    `label_accuracy` is over the same number of scenes with one object.
    """
    single = single_object_trials(scenes)
    figures = {"label_accuracy": mean(label_is_right(predictor, trial) for trial in single)}
    figures |= measure(predictor, [make_trial(i) for i in range(scenes)], quiet=quiet)
    unseen = [make_trial(2_000_000 + i, styles=(UNSEEN_STYLE,)) for i in range(max(1, scenes // 5))]
    for name, value in measure(predictor, unseen, quiet=quiet).items():
        figures[f"{UNSEEN_STYLE}_{name}"] = value
    return figures


def table_of(figures: dict[str, float]) -> Table:
    """The figures as a table."""
    table = Table("figure", "value", title="demo checkpoints on held-out scenes")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}")
    return table


def main(
    scenes: Annotated[int, typer.Option(min=1)] = 500,
    out: Annotated[Path | None, typer.Option("--json", help="Where the figures go.")] = None,
    swapped: Annotated[
        bool, typer.Option("--swapped", help="SigLIP, OWLv2 and HQ-SAM instead of the others.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Of PyTorch.")] = 1,
) -> None:
    """Measure the PyTorch reference."""
    torch.set_num_threads(threads)
    figures = evaluate(SwappedReference() if swapped else ReferencePipeline(), scenes)
    Console().print(table_of(figures))
    if out:
        record = {"scenes": scenes} | {k: round(v, 4) for k, v in figures.items()}
        out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
