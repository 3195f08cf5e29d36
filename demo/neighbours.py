"""`python -m demo.neighbours [--served]`: measures the demo DINOv2 by nearest neighbours.

No text is used: the scenes with the vectors nearest to a picture's vote for its label. Formula:
k-NN evaluation of DINO (Caron et al., "Emerging Properties in Self-Supervised Vision Transformers",
ICCV 2021), the vote weighted by exp(cosine / 0.07). With --served, the answers of a real Triton are
measured beside the reference; it exits with 1 if vectors differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
import typer
from fovea_client import Client
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from transformers import Dinov2Model
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil

from demo.art import TRAINED_STYLES, UNSEEN_STYLE
from demo.dinov2_config import RESIZED
from demo.evaluate import SINGLE_OBJECT_SEEDS, make_trial, mean
from demo.scenes import Scene, make_scene
from demo.served import demo_server, export_demo
from demo.things import INDEX_OF_NAME, LABELS
from demo.train_dinov2 import FOLDER
from demo.training import CHECKPOINTS_FOLDER

DEPLOYMENT = "demo-features"
METRICS = CHECKPOINTS_FOLDER / "metrics_dinov2.json"
NEIGHBOURS, TEMPERATURE = 20, 0.07
# Number of labelled scenes with one thing each, from the validation split.
GALLERY = 720
# The least cosine of a served vector and the reference's, which rounds no pixels.
SAME_COSINE = 0.999

Floats = NDArray[np.float32]
Embed = Callable[[Image.Image], Floats]


class Dinov2Reference:
    """transformers' own vectors, of length 1."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.model = Dinov2Model.from_pretrained(folder).eval()
        self.processor = BitImageProcessorPil.from_pretrained(folder)

    @torch.inference_mode()
    def __call__(self, image: Image.Image) -> Floats:
        """A picture's vector, float32 [D]."""
        inputs = self.processor(image, return_tensors="pt")
        return F.normalize(self.model(**inputs).pooler_output[0], dim=-1).numpy()


@dataclass(frozen=True, eq=False)
class Gallery:
    """Pictures with known labels.

    vectors: float32 [G, D] of length 1. labels: int64 [G], indices into LABELS.
    """

    vectors: Floats
    labels: NDArray[np.int64]

    def label(self, vector: Floats, neighbours: int = NEIGHBOURS) -> int:
        """The label that the nearest ones vote for."""
        cosines = self.vectors @ vector
        nearest = np.argsort(-cosines, kind="stable")[:neighbours]
        weights = np.exp(cosines[nearest] / TEMPERATURE)
        return int(np.bincount(self.labels[nearest], weights, len(LABELS)).argmax())


def main_thing(scene: Scene) -> int:
    """The index of its main thing in LABELS."""
    return INDEX_OF_NAME[scene.main.label]


def make_gallery(embed: Embed, size: int = GALLERY) -> Gallery:
    """Scenes of the size that the checkpoint's processor resizes to."""
    scenes = [
        make_scene(seed, split="validation", n_objects=1, shortest=RESIZED) for seed in range(size)
    ]
    vectors = np.stack([embed(Image.fromarray(scene.image)) for scene in scenes])
    return Gallery(vectors, np.array([main_thing(scene) for scene in scenes]))


def held_out(scenes: int) -> dict[str, list[Scene]]:
    """The scenes to ask about, by the name of the figure."""
    seeds, single = range(scenes), range(SINGLE_OBJECT_SEEDS, SINGLE_OBJECT_SEEDS + scenes)
    styles = {"": TRAINED_STYLES, f"{UNSEEN_STYLE}_": (UNSEEN_STYLE,)}
    found = {}
    for prefix, of in styles.items():
        alone = [make_trial(seed, n_objects=1, styles=of).scene for seed in single]
        mixed = [make_trial(seed, styles=of).scene for seed in seeds]
        found[f"{prefix}label_accuracy{'_single' if prefix else ''}"] = alone
        found[f"{prefix}label_accuracy_multi"] = [s for s in mixed if len(s.objects) > 1]
    return found


def accuracy(gallery: Gallery, embed: Embed, scenes: Iterable[Scene]) -> float:
    """The share of scenes whose neighbours vote for the main thing."""
    return mean(
        gallery.label(embed(Image.fromarray(scene.image))) == main_thing(scene) for scene in scenes
    )


def measure(embed: Embed, scenes: dict[str, list[Scene]]) -> dict[str, float]:
    """All figures for one way to embed."""
    gallery = make_gallery(embed)
    return {
        name: accuracy(gallery, embed, asked)
        for name, asked in track(scenes.items(), description="figures")
    }


def least_cosine(one: Embed, other: Embed, scenes: Iterable[Scene]) -> float:
    """The least cosine between the two vectors of a scene."""
    pictures = (Image.fromarray(scene.image) for scene in scenes)
    return min(float(one(picture) @ other(picture)) for picture in pictures)


def main(
    scenes: Annotated[int, typer.Option(min=2, help="Held-out scenes for each figure.")] = 200,
    json_path: Annotated[Path, typer.Option("--json", help="Where the figures go.")] = METRICS,
    served: Annotated[bool, typer.Option("--served", help="Also ask a real Triton.")] = False,
) -> None:
    """Measure the reference, and the answers of Triton."""
    torch.set_num_threads(1)
    console, cosine = Console(), 1.0
    reference, asked = Dinov2Reference(), held_out(scenes)
    columns = {"reference": measure(reference, asked)}
    if served:
        repository = export_demo(DEPLOYMENT)
        with demo_server(repository) as server, Client(server.grpc_url) as client:
            columns["served"] = measure(client.embed_image, asked)
            cosine = least_cosine(reference, client.embed_image, asked["label_accuracy"])
    table = Table("figure", *columns, title=f"Nearest neighbours, {scenes} scenes")
    for name in asked:
        table.add_row(name, *(f"{figures[name]:.3f}" for figures in columns.values()))
    console.print(table)
    figures = {name: round(value, 4) for name, value in columns["reference"].items()}
    json_path.write_text(json.dumps({"scenes": scenes, **figures}, indent=2) + "\n")
    if served:
        console.print(f"least cosine of a served vector and the reference's: {cosine:.6f}")
    if cosine < SAME_COSINE:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
