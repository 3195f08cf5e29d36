"""`python -m demo.search`: indexes pictures through the real server, and searches them.

Writes the pictures, the store, a contact sheet for each question, and results.json below the output
folder. The right answers are known, since the world is the demo's.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from fovea_client import Client
from fovea_search import Index, Summary, sheet
from rich.console import Console
from rich.progress import track
from rich.table import Table

from demo import search_world
from demo.indexing import index
from demo.scenes import Scene, make_surrounded
from demo.search_world import TrueThing, World
from demo.served import demo_server, export_demo

PICTURES = 300
DEPLOYMENT = "demo-search"
# First seed of a range that no other measurement uses.
FIRST_SEED = 20_000
K = 10
WORD, OTHER, SCENE = "car", "guitar", "at night"


@dataclass(frozen=True)
class Question:
    """One search, and the things of the world that it means."""

    name: str
    title: str
    query: dict[str, Any]
    wanted: str
    scene: str | None = None

    def answers(self, world: World) -> set[TrueThing]:
        """All right answers."""
        return set(world.wanted(self.wanted, words=self.scene))


def questions(example: Scene) -> list[Question]:
    """A text, an image with a box, and a text in a scene; `example` shows OTHER."""
    thing = next(one for one in example.objects if one.label == OTHER)
    return [
        Question("text", f'"{WORD}"', {"text": WORD}, WORD),
        Question(
            "image",
            f"a box around a {OTHER} in another picture",
            {"image": example.image, "box": thing.box_xyxy},
            OTHER,
        ),
        Question("scene", f'"{WORD}" {SCENE}', {"text": WORD, "scene": SCENE}, WORD, SCENE),
    ]


def example_of(label: str) -> Scene:
    """The first scene with a thing, among those that are not indexed."""
    seeds: Iterable[int] = range(FIRST_SEED - 1, 0, -1)
    return next(
        scene
        for scene in (make_surrounded(seed, split="search") for seed in seeds)
        if scene.main.label == label
    )


def index_all(client: Client, photos: Path, store: Path) -> Summary:
    """Build the store from the beginning."""
    shutil.rmtree(store, ignore_errors=True)
    opened, summary = index(client, [str(photos)], store)
    opened.optimize()
    return summary


def ask(opened: Index, world: World, out: Path) -> list[dict[str, Any]]:
    """Each question's figures; also writes its sheet."""
    rows = []
    for question in questions(example_of(OTHER)):
        start = time.perf_counter()
        finds = opened.search(**question.query, k=K)
        elapsed_ms = 1000 * (time.perf_counter() - start)
        for suffix in sheet.SUFFIXES:
            sheet.save(finds, out / f"{question.name}{suffix}")
        answers = question.answers(world)
        rows.append(
            {
                "question": question.title,
                "such_things": len(answers),
                "right": sum(world.thing_of(find) in answers for find in finds),
                "of": len(finds),
                "ms": round(elapsed_ms, 1),
                "best_score": round(finds[0].score, 4),
            }
        )
    return rows


def print_table(summary: Summary, rows: list[dict[str, Any]]) -> None:
    table = Table(*("question", "such things", f"right of {K}", "best score", "ms"))
    for row in rows:
        table.add_row(
            row["question"],
            str(row["such_things"]),
            str(row["right"]),
            f"{row['best_score']:.3f}",
            f"{row['ms']:.0f}",
        )
    rate = f"{summary.pictures_per_s:.1f} pictures/s"
    Console().print(f"{summary.indexed} pictures with {summary.objects} objects, {rate}")
    Console().print(table)


def main(
    pictures: Annotated[int, typer.Option(help="How many to draw and index.")] = PICTURES,
    out: Annotated[Path, typer.Option(help="Folder of all output.")] = Path("build/search"),
) -> None:
    """Index and search."""
    shutil.rmtree(out / "photos", ignore_errors=True)
    seeds = track(range(FIRST_SEED, FIRST_SEED + pictures), description="pictures")
    world = search_world.write(out / "photos", seeds)
    repository = export_demo(DEPLOYMENT)
    with demo_server(repository) as server, Client(server.grpc_url, timeout_s=120) as client:
        summary = index_all(client, out / "photos", out / "index")
        rows = ask(Index.open(out / "index", client=client), world, out)
    print_table(summary, rows)
    record = {
        "pictures": summary.indexed,
        "objects": summary.objects,
        "failed": summary.failed,
        "pictures_per_s": round(summary.pictures_per_s, 2),
        "questions": rows,
    }
    (out / "results.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
