"""Choose the thresholds that find every object with a demo SAM, and record them in it.

`python -m demo.calibrate_masks [sam | sam_scenes | hq_sam]` uses validation scenes, half of them
with plain backgrounds and half in the surroundings of object search; `--search` takes these alone.
It writes `iou_threshold`, `stability_threshold`, `min_piece` and `points_per_side` into the
checkpoint's config.json. `min_piece` is given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from demo.evaluate import CLOSE_IOU, HIT_IOU, mask_iou
from demo.grid_masks import GridMasks, candidates_of, export_promptable
from demo.scenes import Scene, make_scene, make_surrounded
from demo.training import CHECKPOINTS_FOLDER
from fovea import everything
from fovea.everything import Candidates, Settings
from fovea.masks import encode_rle, rle_box
from fovea.roles import LOW_RES_MASKS

SCENES = 80
# First of the seeds that no detector was calibrated with.
FIRST_SEED = 40_000
POINTS_PER_SIDE = 16
IOU_GRID = np.round(np.arange(0.4, 0.81, 0.05), 2)
STABILITY_GRID = np.round(np.arange(0.4, 0.96, 0.05), 2)
MOST_OBJECTS = 256
# Search needs all objects of a picture, in few masks.
MOST_MASKS = 6.0


@dataclass(frozen=True, eq=False)
class Judged:
    """The candidates of a scene, and their masks without specks.

    overlaps: float32 [P, 3, T], the masks' IoU with each true object. boxes_xyxy: float32
    [P, 3, 4], around the masks.
    """

    candidates: Candidates
    overlaps: NDArray[np.float32]
    boxes_xyxy: NDArray[np.float32]


@dataclass(frozen=True)
class Figures:
    """recall_50, recall_75: of the true objects; precision: masks with IoU > 0.5; masks: per
    picture.

    f1: harmonic mean of recall_75 and precision.
    """

    iou_threshold: float
    stability_threshold: float
    recall_50: float
    recall_75: float
    precision: float
    masks: float

    @property
    def f1(self) -> float:
        return 2 * self.recall_75 * self.precision / max(1e-9, self.recall_75 + self.precision)


def validation_scenes(count: int, *, of_search: bool = False) -> Iterator[Scene]:
    """Scenes of search, which have surroundings; by default every second one is plain."""
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        if of_search or seed % 2:
            yield make_surrounded(seed, split="search validation")
        else:
            yield make_scene(seed, split="validation")


def judge(grid: GridMasks, scene: Scene, min_piece: float) -> Judged:
    """The candidates that any thresholds of the grids would keep, compared with the truth."""
    decoded = grid.decode(Image.fromarray(scene.image), POINTS_PER_SIDE)
    candidates = candidates_of(decoded)
    overlaps = np.zeros((*candidates.iou_scores.shape, len(scene.objects)), np.float32)
    boxes = np.zeros((*candidates.iou_scores.shape, 4), np.float32)
    wanted = candidates.iou_scores >= IOU_GRID[0]
    wanted &= candidates.stability >= STABILITY_GRID[0]
    size_hw = (scene.image.shape[0], scene.image.shape[1])
    for place in map(tuple, np.argwhere(wanted)):
        mask = grid.draw(decoded[LOW_RES_MASKS][place], size_hw, min_piece)
        overlaps[place] = [mask_iou(mask, thing.mask) for thing in scene.objects]
        boxes[place] = rle_box(encode_rle(mask), size_hw)
    return Judged(candidates, overlaps, boxes)


def figures(scenes: Sequence[Judged], iou: float, stability: float, min_piece: float) -> Figures:
    """The figures of these thresholds."""
    settings = Settings(POINTS_PER_SIDE, iou, stability, min_area=0, max_objects=MOST_OBJECTS)
    of_objects: list[float] = []
    of_masks: list[float] = []
    for scene in scenes:
        kept = everything.keep(scene.candidates, settings)
        overlaps = scene.overlaps[tuple(kept.T)]
        if min_piece:
            scores = scene.candidates.iou_scores[tuple(kept.T)]
            overlaps = overlaps[everything.distinct(scene.boxes_xyxy[tuple(kept.T)], scores)]
        of_objects.extend(overlaps.max(axis=0, initial=0))
        of_masks.extend(overlaps.max(axis=1, initial=0))
    return Figures(
        iou,
        stability,
        float((np.array(of_objects) > HIT_IOU).mean()),
        float((np.array(of_objects) > CLOSE_IOU).mean()),
        float((np.array(of_masks) > HIT_IOU).mean()) if of_masks else 0.0,
        len(of_masks) / len(scenes),
    )


def choose(found: Iterable[Figures]) -> Figures:
    """Among those with few enough masks, the largest recalls together, then the best F1.

    Recalls that differ by less than a hundredth count as the same.
    """
    rows = list(found)
    few = [row for row in rows if row.masks <= MOST_MASKS]
    return max(few or rows, key=lambda row: (round(row.recall_50 + row.recall_75, 2), row.f1))


def record(checkpoint: Path, chosen: Figures, min_piece: float) -> None:
    """Write the choice into config.json, keeping its other settings."""
    path = checkpoint / "config.json"
    config = json.loads(path.read_text())
    config |= {
        "iou_threshold": chosen.iou_threshold,
        "min_piece": min_piece,
        "points_per_side": POINTS_PER_SIDE,
        "stability_threshold": chosen.stability_threshold,
    }
    path.write_text(json.dumps(dict(sorted(config.items())), indent=2) + "\n")


def main(
    checkpoint: Annotated[str, typer.Argument(help="sam, sam_scenes or hq_sam")] = "sam",
    scenes: Annotated[int, typer.Option(min=2, help="Validation scenes.")] = SCENES,
    of_search: Annotated[bool, typer.Option("--search", help="No plain backgrounds.")] = False,
    min_piece: Annotated[float, typer.Option(min=0, max=1, help="Least piece of a mask.")] = 0.0,
    write: Annotated[bool, typer.Option(help="Write the checkpoint's config.json.")] = True,
) -> None:
    """Judge, choose, print and record."""
    folder = CHECKPOINTS_FOLDER / checkpoint
    grid = GridMasks(export_promptable(folder))
    shown = track(validation_scenes(scenes, of_search=of_search), "scenes", total=scenes)
    judged = [judge(grid, s, min_piece) for s in shown]
    pairs = list(product(IOU_GRID.tolist(), STABILITY_GRID.tolist()))
    rows = [figures(judged, *pair, min_piece) for pair in track(pairs, "thresholds")]
    chosen = choose(rows)
    table = Table("IoU", "stability", "recall > 0.5", "> 0.75", "precision", "masks", "F1")
    for row in sorted(rows, key=lambda row: -row.f1)[:15]:
        values = (row.recall_50, row.recall_75, row.precision, row.masks, row.f1)
        mark = "*" if row == chosen else ""
        table.add_row(
            f"{row.iou_threshold:.2f}{mark}",
            f"{row.stability_threshold:.2f}",
            *(f"{value:.3f}" for value in values),
        )
    Console().print(table)
    if write:
        record(folder, chosen, min_piece)


if __name__ == "__main__":
    typer.run(main)
