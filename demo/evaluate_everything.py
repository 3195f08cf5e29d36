"""Measure which things a demo SAM finds in scenes with surroundings, at its own thresholds.

`python -m demo.evaluate_everything` writes the figures for the card of `sam_scenes`. For another
checkpoint it only prints them.
"""

from __future__ import annotations

from typing import Annotated

import torch
import typer

from demo.calibrate_masks import figures, judge
from demo.evaluate_scenes import report
from demo.grid_masks import GridMasks, export_promptable
from demo.scenes import Scene
from demo.train_sam_scenes import FOLDER
from demo.training import CHECKPOINTS_FOLDER

RECORDED = ("recall_50", "recall_75", "precision", "masks")
METRICS = CHECKPOINTS_FOLDER / "metrics_everything.json"


def measure(grid: GridMasks, scenes: list[Scene]) -> dict[str, float]:
    """The recorded figures of the checkpoint at its thresholds."""
    spec = grid.cuts.spec
    judged = [judge(grid, scene, spec.min_piece) for scene in scenes]
    found = figures(judged, spec.iou_threshold, spec.stability_threshold, spec.min_piece)
    return {name: getattr(found, name) for name in RECORDED}


def main(
    checkpoint: Annotated[str, typer.Argument(help="sam, sam_scenes or hq_sam")] = FOLDER.name,
    scenes: Annotated[int, typer.Option(min=1, help="Held-out scenes of each style.")] = 100,
) -> None:
    """Measure, print and write."""
    torch.set_num_threads(1)
    grid = GridMasks(export_promptable(CHECKPOINTS_FOLDER / checkpoint))
    title = f"{checkpoint}, {scenes} scenes of each style"
    out = METRICS if checkpoint == FOLDER.name else None
    report(title, scenes, lambda held: measure(grid, held), out)


if __name__ == "__main__":
    typer.run(main)
