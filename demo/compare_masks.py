"""Compares HQ-SAM's masks with SAM's on the same held-out scenes.

`python -m demo.compare_masks --scenes 300`
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from demo.evaluate import iou_from_box, iou_from_point, make_trial
from demo.reference import ReferencePipeline
from demo.swapped_reference import HqSamReference
from demo.training import CHECKPOINTS_FOLDER

METRICS = {"from the true box": iou_from_box, "from a point inside": iou_from_point}


def main(scenes: Annotated[int, typer.Option(min=1)] = 300) -> None:
    """Print mean mask IoUs, and the mean difference with its standard error."""
    torch.set_num_threads(1)
    sam, hq_sam = ReferencePipeline(), HqSamReference(CHECKPOINTS_FOLDER / "hq_sam")
    ious = np.array(
        [
            [[metric(cuts, trial) for cuts in (sam, hq_sam)] for metric in METRICS.values()]
            for trial in (make_trial(seed) for seed in track(range(scenes), "scenes"))
        ]
    )
    table = Table("mask IoU", "SAM", "HQ-SAM", "difference", title=f"{scenes} held-out scenes")
    for name, pair in zip(METRICS, ious.transpose(1, 0, 2), strict=True):
        gain = pair[:, 1] - pair[:, 0]
        error = gain.std() / scenes**0.5
        theirs, ours = pair.mean(axis=0)
        table.add_row(name, f"{theirs:.4f}", f"{ours:.4f}", f"{gain.mean():+.4f} ± {error:.4f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
