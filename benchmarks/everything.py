"""`python -m benchmarks.everything`: segment_everything against transformers and the truth.

The served demo and transformers' mask generation get the same pictures in turns, one caller each,
with all cores: at transformers' own grid of 32 x 32 points and the checkpoint's thresholds, and the
server at the checkpoint's own grid too. Truth is every object of held-out scenes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from fovea_client import Client, Objects
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track

from benchmarks.figures import timed
from benchmarks.options import Json
from benchmarks.results import write_json
from benchmarks.tables import cell, on_terminal
from demo.evaluate import make_trial, mean
from demo.mask_generation import MaskGeneration
from demo.served import demo_server
from export.machine import machine

# transformers' `points_per_crop`.
POINTS_PER_SIDE = 32
SAME_IOU = 0.95
FIRST_SEED = 930_000


@dataclass(frozen=True)
class Result:
    """Medians over pictures, and shares.

    seconds: of a picture, by side. ratio: reference / served at the checkpoint's grid;
    ratio_same_grid: at 32 x 32 points on both sides. reference_found, served_found: share of one
    side's masks that the other has at IoU > 0.95, at the same grid and thresholds; with
    `full_size_` before, of masks judged at the picture's size. recall_50, recall_75: of the true
    objects, at the checkpoint's grid. masks: of a picture, likewise.
    """

    seconds: dict[str, float]
    ratio: float
    ratio_same_grid: float
    reference_found: float
    served_found: float
    full_size_reference_found: float
    full_size_served_found: float
    recall_50: float
    recall_75: float
    masks: float
    reference_pictures: int
    truth_pictures: int
    machine: dict[str, Any] = field(default_factory=machine)


def pairwise_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Of masks [N, H, W] and [M, H, W]: float32 [N, M]."""
    pixels = a.shape[1] * a.shape[2]
    flat_a, flat_b = (masks.reshape(len(masks), pixels).astype(np.float32) for masks in (a, b))
    shared = flat_a @ flat_b.T
    union = flat_a.sum(axis=1)[:, None] + flat_b.sum(axis=1) - shared
    return np.asarray(shared / np.maximum(union, 1), np.float32)


def drawn(found: Objects) -> NDArray[np.bool_]:
    """bool [N, H, W]."""
    masks = [mask.to_numpy() for mask in found.masks]
    return np.stack(masks) if masks else np.zeros((0, *found.size_hw), np.bool_)


def best(overlaps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each row, the largest; 0 where there are no columns."""
    return np.asarray(overlaps.max(axis=1, initial=0), np.float32)


def compare(client: Client, pictures: list[Image.Image]) -> dict[str, Any]:
    """Speed of both sides, and which masks of one the other has."""
    reference = MaskGeneration()
    config = reference.model.config
    thresholds = {
        "iou_threshold": config.iou_threshold,
        "stability_threshold": config.stability_threshold,
    }
    same_grid = {"points_per_side": POINTS_PER_SIDE}
    seconds: dict[str, list[float]] = {"reference": [], "served_same_grid": [], "served": []}
    found: dict[str, list[float]] = {
        name: [] for name in ("reference", "served", "full_size_reference", "full_size_served")
    }
    for picture in track(pictures, description="against transformers"):
        theirs, took = timed(reference.generate, picture, **same_grid, **thresholds)
        seconds["reference"].append(took)
        ours, took = timed(client.segment_everything, picture, **same_grid)
        seconds["served_same_grid"].append(took)
        seconds["served"].append(timed(client.segment_everything, picture)[1])
        closely = client.segment_everything(picture, **same_grid, full_size=True)
        for mode, objects in (("", ours), ("full_size_", closely)):
            overlaps = pairwise_iou(theirs.masks, drawn(objects))
            found[f"{mode}reference"].extend(best(overlaps) > SAME_IOU)
            found[f"{mode}served"].extend(best(overlaps.T) > SAME_IOU)
    took_of = {side: float(np.median(values)) for side, values in seconds.items()}
    return {
        "seconds": took_of,
        "ratio": took_of["reference"] / took_of["served"],
        "ratio_same_grid": took_of["reference"] / took_of["served_same_grid"],
        **{f"{name}_found": mean(shares) for name, shares in found.items()},
    }


def truth(client: Client, scenes: int) -> dict[str, float]:
    """Which true objects have a mask."""
    overlaps: list[float] = []
    counts: list[int] = []
    for seed in track(range(scenes), description="against truth"):
        trial = make_trial(FIRST_SEED + seed)
        found = drawn(client.segment_everything(trial.image))
        counts.append(len(found))
        true = np.stack([thing.mask for thing in trial.scene.objects])
        overlaps.extend(best(pairwise_iou(true, found)))
    return {
        "recall_50": mean(iou > 0.5 for iou in overlaps),
        "recall_75": mean(iou > 0.75 for iou in overlaps),
        "masks": mean(counts),
    }


def main(
    pictures: Annotated[int, typer.Option(help="Pictures that transformers sees too.")] = 10,
    scenes: Annotated[int, typer.Option(help="Held-out scenes with their truth.")] = 100,
    out: Json = Path("build/bench-everything.json"),
) -> None:
    """Measure, print and write."""
    with demo_server() as server, Client(server.grpc_url, timeout_s=600) as client:
        client.segment_everything(make_trial(FIRST_SEED - 1).image)
        shown = [make_trial(FIRST_SEED + 50_000 + i).image for i in range(pictures)]
        result = Result(
            **compare(client, shown),
            **truth(client, scenes),
            reference_pictures=pictures,
            truth_pictures=scenes,
        )
    write_json(out, result)
    figures = {f"seconds: {side}": value for side, value in result.seconds.items()}
    figures |= {name: value for name, value in vars(result).items() if not isinstance(value, dict)}
    rows = [{"figure": name, "value": cell(value, 3)} for name, value in figures.items()]
    Console().print(on_terminal(rows, "segment_everything"))


if __name__ == "__main__":
    typer.run(main)
