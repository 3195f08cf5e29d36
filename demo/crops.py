"""`python -m demo.crops`: compares crops by how well texts and other objects find them.

Cuts the true objects of held-out scenes out in every way and embeds them with the demo's CLIP.
Mean average precision (mAP) of ranking them by cosine: for the names of the things, and for each
object as the query for others of its name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from fovea_client import LocalClient
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from demo.evaluate import make_trial
from demo.scenes import SceneObject
from demo.served import EXPORT_FOLDER, export_demo
from fovea import crops
from fovea.geometry import Geometry
from fovea.images import BICUBIC

FIRST_SEED = 950_000
# The demo's CLIP takes less and resizes further itself.
EDGE = 128
_WHOLE = Geometry("squash", (EDGE, EDGE), (EDGE, EDGE), int(BICUBIC))
GREY = 127

Cut = Callable[[NDArray[np.uint8], SceneObject], NDArray[np.uint8]]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Figures:
    """text, image: mAP of queries of that kind."""

    text: float
    image: float


def whole(pixels: NDArray[np.uint8], thing: SceneObject) -> NDArray[np.uint8]:
    """The whole picture."""
    return pixels


def box(pixels: NDArray[np.uint8], thing: SceneObject, margin: float = 0.0) -> NDArray[np.uint8]:
    """The box, with a share of its sides around it."""
    left, top, right, bottom = thing.box_xyxy
    across, down = margin * (right - left), margin * (bottom - top)
    rows = slice(max(0, int(top - down)), int(np.ceil(bottom + down)))
    return pixels[rows, max(0, int(left - across)) : int(np.ceil(right + across))]


def masked(pixels: NDArray[np.uint8], thing: SceneObject, level: int) -> NDArray[np.uint8]:
    """The square, with the background in one grey level."""
    flat = np.where(thing.mask[..., None], pixels, np.uint8(level))
    return square(flat, thing, margin=crops.MARGIN, blur=0)


def square(
    pixels: NDArray[np.uint8], thing: SceneObject, margin: float, blur: float
) -> NDArray[np.uint8]:
    """The crop that `fovea.crops` cuts."""
    size_hw = (pixels.shape[0], pixels.shape[1])

    def mask_within(around: crops.Square, edge: int) -> NDArray[np.bool_]:
        places = (np.arange(edge) + 0.5) * ((around[2] - around[0]) / edge)
        columns = (around[0] + places).astype(int)
        rows = (around[1] + places).astype(int)
        inside = np.outer(
            (rows >= 0) & (rows < size_hw[0]), (columns >= 0) & (columns < size_hw[1])
        )
        rows, columns = rows.clip(0, size_hw[0] - 1), columns.clip(0, size_hw[1] - 1)
        found: NDArray[np.bool_] = thing.mask[np.ix_(rows, columns)] & inside
        return found

    around = np.array(thing.box_xyxy, np.float32)
    made, _ = crops.crop(pixels, around, size_hw, mask_within, _WHOLE, margin=margin, blur=blur)
    return made.transpose(1, 2, 0)


CUTS: Mapping[str, Cut] = {
    "whole picture": whole,
    "tight box": box,
    "box + 25 %": partial(box, margin=0.25),
    "square + 10 %, background black": partial(masked, level=0),
    "square + 10 %, background grey": partial(masked, level=GREY),
    "square + 10 %": partial(square, margin=0.1, blur=0),
    "square + 0 %, blurred 5 %": partial(square, margin=0.0, blur=0.05),
    "square + 10 %, blurred 2.5 %": partial(square, margin=0.1, blur=0.025),
    "square + 10 %, blurred 5 %": partial(square, margin=0.1, blur=0.05),
    "square + 10 %, blurred 10 %": partial(square, margin=0.1, blur=0.1),
    "square + 20 %, blurred 5 %": partial(square, margin=0.2, blur=0.05),
}


def average_precision(scores: Floats, right: NDArray[np.bool_]) -> float:
    """Average precision of a ranking by `scores` [N]; `right` [N] are to be found."""
    hits = right[np.argsort(-scores, kind="stable")]
    ranks = np.flatnonzero(hits) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def figures(vectors: Floats, names: list[str], texts: Mapping[str, Floats]) -> Figures:
    """The figures for objects' vectors [N, D] of length 1, and for those of the names."""
    labels = np.array(names)
    by_text = [average_precision(vectors @ texts[name], labels == name) for name in set(names)]
    likeness = vectors @ vectors.T
    by_image = []
    for i in range(len(names)):
        others = np.arange(len(names)) != i
        right = labels[others] == labels[i]
        if right.any():
            by_image.append(average_precision(likeness[i, others], right))
    return Figures(float(np.mean(by_text)), float(np.mean(by_image)))


def main(
    scenes: Annotated[int, typer.Option(help="Held-out scenes.")] = 200,
    out: Annotated[Path, typer.Option("--json")] = Path("build/crops.json"),
) -> None:
    """Cut, embed, rank, print and write."""
    export_demo()
    vectors: dict[str, list[Floats]] = {name: [] for name in CUTS}
    names: list[str] = []
    with LocalClient(EXPORT_FOLDER) as client:
        for seed in track(range(scenes), description="scenes"):
            scene = make_trial(FIRST_SEED + seed).scene
            for thing in scene.objects:
                names.append(thing.label)
                for name, cut in CUTS.items():
                    picture = Image.fromarray(np.ascontiguousarray(cut(scene.image, thing)))
                    vectors[name].append(client.embed_image(picture))
        texts = {name: client.embed_text(f"a photo of a {name}.") for name in set(names)}
    found = {name: figures(np.stack(rows), names, texts) for name, rows in vectors.items()}
    table = Table("crop", "text mAP", "image mAP", title=f"{len(names)} objects")
    for name, row in found.items():
        table.add_row(name, f"{row.text:.3f}", f"{row.image:.3f}")
    Console().print(table)
    record = {"scenes": scenes, "objects": len(names)}
    crops_of = {name: asdict(row) for name, row in found.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({**record, "crops": crops_of}, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
