"""`python -m demo.search_truth`: measures how much of the truth object search finds.

Indexes pictures from outside training, in surroundings by day and by night, through the real
server, and searches them. The job is resumable: indexed pictures are not done again. With
`--validation` it uses other pictures, those for choosing settings.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from fovea_client import Client, console
from fovea_search import Index, Store
from fovea_search.search import SCENE_WEIGHT
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from demo import search_questions as questions
from demo import search_world
from demo.evaluate import CLOSE_IOU, HIT_IOU
from demo.indexing import index
from demo.search_cutoff import Cutoffs, cutoffs
from demo.search_rows import NOTHING, Floats, Rows, image_map, read, recall, text_map
from demo.search_world import World
from demo.served import demo_server, export_demo
from demo.things import LABELS
from export.machine import machine

DEPLOYMENT = "demo-search"
PICTURES, COMPARED, IMAGE_QUERIES, INDEX_QUERIES = 2000, 300, 400, 200
FIRST_SEED = 0
# From this many rows on, the index is built, so that its answers can differ from brute force.
INDEXED_ROWS = 1_000
SCENE_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
AIMS = {
    "recall_50": 0.95,
    "recall_75": 0.92,
    "text_map": 0.90,
    "image_map": 0.85,
    "index_recall": 0.99,
}
MOST_MASKS = 6.0


@dataclass(frozen=True)
class Objects:
    """recall_50, recall_75: of the true things. precision: of the masks. masks: per picture."""

    recall_50: float
    recall_75: float
    precision: float
    masks: float


@dataclass(frozen=True)
class Ranking:
    """Mean average precision of texts and of objects as queries."""

    text_map: float
    image_map: float


@dataclass(frozen=True)
class Truth:
    """All figures.

    crops: for the compared pictures, by the kind of crop. text_precision: P@5. scene_precision: P@5
    for things in scenes; scene_sentence: for one vector of the sentence; scene_weights: P@5 by
    weight.
    """

    pictures: int
    things: int
    objects: Objects
    ranking: Ranking
    crops: Mapping[str, Ranking]
    text_precision: float
    scene_precision: float
    scene_sentence: float
    scene_weights: Mapping[str, float]
    feedback: questions.Feedback
    index_recall: float
    cutoffs: Cutoffs
    pictures_per_s: float

    @property
    def missed(self) -> list[str]:
        """Aims that were not reached."""
        figures = {
            **asdict(self.objects),
            **asdict(self.ranking),
            "index_recall": self.index_recall,
        }
        short = [name for name, aim in AIMS.items() if figures[name] < aim]
        plain = [rank for name, rank in self.crops.items() if name != "as served"]
        served = self.crops["as served"]
        if any(served.text_map <= one.text_map for one in plain):
            short.append("text_map above other crops")
        if any(served.image_map <= one.image_map for one in plain):
            short.append("image_map above other crops")
        if self.objects.masks > MOST_MASKS:
            short.append("masks")
        if self.scene_precision <= self.scene_sentence:
            short.append("scene_precision above one sentence")
        return short


def index_all(client: Client, pictures: list[str], store: Path) -> tuple[Store, float]:
    """The store with these pictures in it, and the rate of those that were new."""
    opened, summary = index(client, pictures, store)
    opened.optimize(indexed_rows=INDEXED_ROWS)
    return opened, summary.pictures_per_s


def tight_vectors(client: Client, rows: Rows) -> Floats:
    """Vectors of only the boxes' pixels, [N, D]."""
    found, image, path = [], None, ""
    for picture, box in track(list(zip(rows.pictures, rows.boxes, strict=True)), "tight boxes"):
        if image is None or picture != path:
            image, path = Image.open(picture).convert("RGB"), picture
        left, top, right, bottom = box.astype(int).tolist()
        around = (left, top, max(right, left + 1), max(bottom, top + 1))
        found.append(client.embed_image(image.crop(around)))
    return np.stack(found)


def ranking(rows: Rows, vectors: Floats, world: World, texts: Mapping[str, Floats]) -> Ranking:
    labels = [thing.label for thing in world.things]
    return Ranking(
        text_map(rows, vectors, labels, dict(texts)),
        image_map(rows, vectors, labels, IMAGE_QUERIES),
    )


def compare_crops(
    client: Client, rows: Rows, world: World, texts: Mapping[str, Floats], pictures: int
) -> dict[str, Ranking]:
    """Rankings by kind of crop, on the first pictures only."""
    some = World()
    chosen = set(list(world.of_picture)[:pictures])
    some.things = [thing for thing in world.things if thing.picture in chosen]
    part = rows.of(chosen)
    vectors = {
        "as served": part.vectors,
        "tight box": tight_vectors(client, part),
        "whole picture": part.whole,
    }
    return {name: ranking(part, found, some, texts) for name, found in vectors.items()}


def measure(client: Client, folder: Path, world: World, compared: int) -> Truth:
    """Measure everything for a world whose pictures are in a folder."""
    store, rate = index_all(client, list(world.of_picture), folder / "index")
    rows = read(store, world)
    texts = {label: client.embed_text(label) for label in LABELS}
    opened = Index(store, client)
    drawn = np.random.default_rng(1).permutation(len(rows.ids))[:INDEX_QUERIES]
    return Truth(
        pictures=len(world.of_picture),
        things=len(world.things),
        objects=Objects(
            recall(rows, len(world.things), HIT_IOU),
            recall(rows, len(world.things), CLOSE_IOU),
            float((rows.things != NOTHING).mean()),
            len(rows.ids) / len(world.of_picture),
        ),
        ranking=ranking(rows, rows.vectors, world, texts),
        crops=compare_crops(client, rows, world, texts, compared),
        text_precision=questions.text_precision(opened, world),
        scene_precision=questions.scene_precision(opened, world, SCENE_WEIGHT),
        scene_sentence=questions.scene_precision(opened, world, None),
        scene_weights={
            str(weight): questions.scene_precision(opened, world, weight)
            for weight in SCENE_WEIGHTS
        },
        feedback=questions.feedback(opened, world),
        index_recall=questions.index_recall(opened, rows, [*texts.values(), *rows.vectors[drawn]]),
        cutoffs=cutoffs(client, rows, world, texts),
        pictures_per_s=rate,
    )


def table_of(found: Truth) -> Table:
    """The figures and their aims."""
    table = Table(
        "figure", "value", "aim", title=f"{found.things} things in {found.pictures} pictures"
    )
    figures: dict[str, Any] = {
        **asdict(found.objects),
        **asdict(found.ranking),
        **{
            f"{name}, {kind}": value
            for name, rank in found.crops.items()
            for kind, value in asdict(rank).items()
        },
        "text P@5": found.text_precision,
        f"scene P@5, weight {SCENE_WEIGHT}": found.scene_precision,
        "scene P@5, one sentence": found.scene_sentence,
        **{f"scene P@5, weight {w}": value for w, value in found.scene_weights.items()},
        "P@10 before marks": found.feedback.before,
        "P@10 after ten marks": found.feedback.after,
        "index_recall": found.index_recall,
        **{f"cut-off, {name}": value for name, value in asdict(found.cutoffs).items()},
    }
    aims = {**AIMS, "masks": f"at most {MOST_MASKS:.0f}"}
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}", str(aims.get(name, "")))
    return table


def main(
    pictures: Annotated[int, typer.Option(min=200, help="Held-out pictures.")] = PICTURES,
    compared: Annotated[int, typer.Option(min=2, help="How many with other crops.")] = COMPARED,
    validation: Annotated[bool, typer.Option("--validation", help="Other pictures.")] = False,
    out: Annotated[Path, typer.Option("--json")] = Path("build/search-truth.json"),
) -> None:
    """Index, search, print and write; exits with 1 if an aim is missed."""
    split = "search validation" if validation else "search"
    folder = Path("build") / split.replace(" ", "-").replace("search", "search-truth", 1)
    seeds = track(range(FIRST_SEED, FIRST_SEED + pictures), description="pictures")
    world = search_world.write(folder / "photos", seeds, split=split)
    repository = export_demo(DEPLOYMENT)
    with demo_server(repository) as server, Client(server.grpc_url, timeout_s=600) as client:
        found = measure(client, folder, world, compared)
    Console().print(table_of(found))
    out.parent.mkdir(parents=True, exist_ok=True)
    record = {**asdict(found), "missed": found.missed, "machine": machine()}
    out.write_text(json.dumps(record, indent=1) + "\n")
    for name in found.missed:
        console.print_error("an aim was missed", name)
    raise typer.Exit(bool(found.missed))


if __name__ == "__main__":
    typer.run(main)
