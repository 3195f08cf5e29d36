"""Measure which things a demo SAM finds in scenes with surroundings, at its own thresholds.

`python -m demo.evaluate_everything` writes the figures for the card of `sam_scenes`. For another
checkpoint it only prints them.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from demo.art import TRAINED_STYLES, UNSEEN_STYLE
from demo.calibrate_masks import Figures, figures, judge
from demo.evaluate_scenes import held_out
from demo.grid_masks import GridMasks, export_promptable
from demo.scenes import Scene
from demo.train_sam_scenes import FOLDER
from demo.training import CHECKPOINTS_FOLDER

RECORDED = ("recall_50", "recall_75", "precision", "masks")
METRICS = CHECKPOINTS_FOLDER / "metrics_everything.json"


def measure(grid: GridMasks, scenes: list[Scene]) -> Figures:
    """What the checkpoint finds in the scenes at its thresholds."""
    spec = grid.cuts.spec
    judged = [judge(grid, scene) for scene in scenes]
    return figures(judged, spec.iou_threshold, spec.stability_threshold)


def main(
    checkpoint: Annotated[str, typer.Argument(help="sam, sam_scenes or hq_sam")] = FOLDER.name,
    scenes: Annotated[int, typer.Option(min=1, help="Held-out scenes of each style.")] = 100,
) -> None:
    """Measure, print and write."""
    torch.set_num_threads(1)
    grid = GridMasks(export_promptable(CHECKPOINTS_FOLDER / checkpoint))
    found: dict[str, float] = {}
    for prefix, styles in {"": TRAINED_STYLES, f"{UNSEEN_STYLE}_": (UNSEEN_STYLE,)}.items():
        rows = asdict(measure(grid, held_out(scenes, styles)))
        found |= {f"{prefix}{name}": round(rows[name], 4) for name in RECORDED}
    table = Table("figure", "value", title=f"{checkpoint}, {scenes} scenes of each style")
    for name, value in found.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)
    if checkpoint == FOLDER.name:
        METRICS.write_text(json.dumps({"scenes": scenes, **found}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
