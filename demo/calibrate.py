"""Choose the thresholds of a demo detector and record them in its configuration.

`python -m demo.calibrate [grounding_dino | owlv2 | rt_detr]` uses validation scenes, never those
of the final figures.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from PIL import Image
from rich.progress import track
from transformers import GroundingDinoForObjectDetection, GroundingDinoProcessor
from transformers.models.grounding_dino.modeling_grounding_dino import (
    GroundingDinoObjectDetectionOutput,
)

from demo.captions import description
from demo.closed_reference import RtDetrReference
from demo.evaluate import HIT_IOU, Trial, box_iou, make_trial
from demo.reference import Detection
from demo.scenes import scene_rng
from demo.swapped_reference import Owlv2Reference
from demo.things import INDEX_OF_NAME
from demo.training import CHECKPOINTS_FOLDER

SCENES = 300
SPLIT = "validation"
GRID = np.round(np.arange(0.10, 0.80, 0.01), 2)

# The boxes of a label at any threshold, best first.
Ask = Callable[[Image.Image, str], list[Detection]]


class Calibration:
    """A checkpoint with its processor, run on trials."""

    def __init__(self, folder: Path) -> None:
        self.model = GroundingDinoForObjectDetection.from_pretrained(folder).eval()
        self.processor = GroundingDinoProcessor.from_pretrained(folder)

    @torch.inference_mode()
    def ask(self, trial: Trial, caption: str) -> GroundingDinoObjectDetectionOutput:
        """The model's raw answer to one caption."""
        inputs = self.processor(images=trial.image, text=caption, return_tensors="pt")
        return self.model(**inputs)

    def best(self, trial: Trial, label: str) -> tuple[float, bool]:
        """Score of the best box for a label, and whether it is the trial's named object."""
        outputs = self.ask(trial, f"{label}.")
        scores = outputs.logits[0].sigmoid().amax(-1)
        query = int(scores.argmax())
        cx, cy, w, h = outputs.pred_boxes[0, query].tolist()
        width, height = trial.image.size
        box = (
            (cx - w / 2) * width,
            (cy - h / 2) * height,
            (cx + w / 2) * width,
            (cy + h / 2) * height,
        )
        return float(scores[query]), box_iou(box, trial.named.box_xyxy) > HIT_IOU

    def token_scores(self, trial: Trial) -> tuple[list[float], list[float]]:
        """For a free description: scores at the noun that a box stands for, and elsewhere.

        Only the best box of the named object counts.
        """
        rng = scene_rng(0, trial.named.label)
        caption = description(rng, [INDEX_OF_NAME[trial.named.label]])
        text = self.processor.tokenizer(caption.text, return_offsets_mapping=True)
        logits = self.ask(trial, caption.text).logits[0].sigmoid()
        row = logits[int(logits.amax(-1).argmax())]
        noun, rest = [], []
        for score, (start, end) in zip(row.tolist(), text["offset_mapping"], strict=False):
            inside = any(a <= start < end <= b for a, b, _ in caption.nouns)
            (noun if inside else rest).append(score)
        return noun, rest


def balanced_threshold(positive: np.ndarray, negative: np.ndarray) -> float:
    """The grid's threshold with the largest smaller one of both rates; the middle one of ties."""
    worst = [min((positive > t).mean(), (negative <= t).mean()) for t in GRID]
    return float(np.round(np.median(GRID[np.flatnonzero(worst == np.max(worst))]), 2))


def calibrate(folder: Path, scenes: int = SCENES) -> tuple[float, float]:
    """Write `box_threshold` and `text_threshold` into the checkpoint's config.json.

    A box that misses its object counts as not found at any threshold.
    """
    asked = Calibration(folder)
    present, absent, nouns, rest = [], [], [], []
    for trial in track([make_trial(i, split=SPLIT) for i in range(scenes)], "calibrating"):
        score, hit = asked.best(trial, trial.named.label)
        present.append(score if hit else 0.0)
        absent.append(asked.best(trial, trial.absent)[0])
        noun, other = asked.token_scores(trial)
        nouns += noun
        rest += other
    box_threshold = balanced_threshold(np.array(present), np.array(absent))
    text_threshold = min(box_threshold, balanced_threshold(np.array(nouns), np.array(rest)))
    asked.model.config.box_threshold = box_threshold
    asked.model.config.text_threshold = text_threshold
    asked.model.config.save_pretrained(folder)
    return box_threshold, text_threshold


def calibrate_boxes(
    asked: Owlv2Reference | RtDetrReference, ask: Ask, folder: Path, scenes: int = SCENES
) -> float:
    """Write `box_threshold` into the checkpoint's config.json, as `calibrate` does."""
    present, absent = [], []
    for trial in track([make_trial(i, split=SPLIT) for i in range(scenes)], "calibrating"):
        best = ask(trial.image, trial.named.label)
        hit = bool(best) and box_iou(best[0].box_xyxy, trial.named.box_xyxy) > HIT_IOU
        present.append(best[0].score if hit else 0.0)
        absent.append(next((found.score for found in ask(trial.image, trial.absent)), 0.0))
    box_threshold = balanced_threshold(np.array(present), np.array(absent))
    asked.model.config.box_threshold = box_threshold
    asked.model.config.save_pretrained(folder)
    return box_threshold


def calibrate_owlv2(folder: Path) -> float:
    """OWLv2 gives every patch a box, so there is a best one at any threshold."""
    asked = Owlv2Reference(folder)
    return calibrate_boxes(
        asked, lambda image, label: asked.detect(image, [label], box_threshold=0.0), folder
    )


def calibrate_rt_detr(folder: Path) -> float:
    """RT-DETR returns only its best boxes; none of them may be of the label."""
    asked = RtDetrReference(folder)

    def ask(image: Image.Image, label: str) -> list[Detection]:
        return [found for found in asked(image, box_threshold=0.0) if found.phrase == label]

    return calibrate_boxes(asked, ask, folder)


def main(
    checkpoint: Annotated[
        Literal["grounding_dino", "owlv2", "rt_detr"],
        typer.Argument(help="One of the demo's detectors."),
    ] = "grounding_dino",
) -> None:
    """Calibrate a detector's checkpoint, and write the thresholds into it."""
    folder = CHECKPOINTS_FOLDER / checkpoint
    torch.set_num_threads(1)
    if folder.name == "grounding_dino":
        boxes, text = calibrate(folder)
        print(f"box_threshold {boxes}, text_threshold {text}")
    else:
        by_name = {"owlv2": calibrate_owlv2, "rt_detr": calibrate_rt_detr}
        print(f"box_threshold {by_name[folder.name](folder)}")


if __name__ == "__main__":
    typer.run(main)
