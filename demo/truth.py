"""`python -m demo.truth`: compares the reference and the served ensembles with the truth."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from fovea_client import Client
from rich.console import Console
from rich.progress import track
from rich.table import Table

from demo.evaluate import Trial, evaluate, make_trial, mask_iou, mean
from demo.reference import Predictor, ReferencePipeline
from demo.served import ServedPredictor, demo_server

# The largest difference of boxes that counts as the same.
BOX_PX = 1.0


@dataclass(frozen=True)
class Agreement:
    """Served answers against the reference's, over scenes.

    same_label, same_found: shares. box_px: largest difference of a box edge, in pixels;
    boxes_within: share of boxes within BOX_PX. mask_iou: mean over the pairs that found something.
    """

    same_label: float
    same_found: float
    box_px: float
    boxes_within: float
    mask_iou: float


def agreement(reference: Predictor, served: Predictor, trials: list[Trial]) -> Agreement:
    """Compares the answers of `main_object`; ValueError if both never found the same thing."""
    labels, found, edges, ious = [], [], [], []
    for trial in track(trials, description="agreement"):
        expected = reference.main_object(trial.image, trial.candidates)
        got = served.main_object(trial.image, trial.candidates)
        labels.append(expected.label == got.label)
        found.append(expected.found == got.found)
        if expected.label == got.label and expected.found and got.found:
            edges.append(np.abs(np.subtract(expected.box_xyxy, got.box_xyxy)).max())
            ious.append(mask_iou(expected.mask, got.mask))
    if not edges:
        raise ValueError(f"in {len(trials)} scenes, both sides found the same thing in none")
    return Agreement(
        same_label=mean(labels),
        same_found=mean(found),
        box_px=float(max(edges)),
        boxes_within=mean(edge <= BOX_PX for edge in edges),
        mask_iou=mean(ious),
    )


def table_of(sides: dict[str, dict[str, float]], agreed: Agreement) -> Table:
    """Both sides beside each other, then their agreement."""
    table = Table("figure", *sides, title="Against truth, and each other")
    for name in next(iter(sides.values())):
        table.add_row(name, *(f"{figures[name]:.4f}" for figures in sides.values()))
    table.add_section()
    for name, value in asdict(agreed).items():
        table.add_row(f"agreement: {name}", "", f"{value:.4f}")
    return table


def main(
    scenes: Annotated[int, typer.Option(min=1)] = 500,
    out: Annotated[Path, typer.Option("--json", help="Where the figures go.")] = Path(
        "build/truth.json"
    ),
) -> None:
    """Measure both sides, print the figures and write them."""
    torch.set_num_threads(1)
    reference = ReferencePipeline()
    with demo_server() as server, Client(server.grpc_url) as client:
        served = ServedPredictor(client)
        sides = {
            "reference": evaluate(reference, scenes),
            "served": evaluate(served, scenes),
        }
        agreed = agreement(reference, served, [make_trial(i) for i in range(scenes)])
    Console().print(table_of(sides, agreed))
    record = {"scenes": scenes, **sides, "agreement": asdict(agreed)}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
