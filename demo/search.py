"""`python -m demo.search`: index pictures through the real server, and ask for things in them.

Writes the pictures, the store, a contact sheet for each question, and results.json below the output
folder. What is right is known: the world is the demo's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fovea_client import Client, console
from fovea_search import Find, Finds, Index, Job, Servers, Summary, sheet, sources
from fovea_search.servers import open_store
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from demo.evaluate import mask_iou
from demo.samples import JPEG_QUALITY
from demo.scenes import Scene, SceneObject, make_scene
from demo.served import demo_server

PICTURES = 300
# Seeds of the split that no other measurement looks at.
FIRST_SEED = 20_000
K = 10
HIT_IOU = 0.5
WORD, OTHER, PERSON, SCENE = "car", "guitar", "woman", "train"


@dataclass(frozen=True)
class Question:
    """One search. right: of a find's true object and its scene, whether it is what was meant."""

    name: str
    title: str
    query: dict[str, Any]
    wanted: str
    scene: str | None = None

    def is_right(self, thing: SceneObject | None, scene: Scene) -> bool:
        shown = self.scene is None or self.scene in scene.labels
        return thing is not None and thing.label == self.wanted and shown


def write_scenes(folder: Path, count: int) -> dict[str, Scene]:
    """Pictures in folders named by their shape, and the truth of each by its path."""
    shutil.rmtree(folder, ignore_errors=True)
    scenes: dict[str, Scene] = {}
    for seed in track(range(FIRST_SEED, FIRST_SEED + count), description="pictures"):
        scene = make_scene(seed, split="test")
        height, width = scene.image.shape[:2]
        shape = "square" if height == width else "wide" if width > height else "tall"
        path = folder / shape / f"{seed}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene.image).save(path, quality=JPEG_QUALITY)
        scenes[str(path.resolve())] = scene
    return scenes


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
        Question(
            "scene",
            f'"{PERSON}" in pictures of "{SCENE}"',
            {"text": PERSON, "scene": SCENE},
            PERSON,
            SCENE,
        ),
    ]


def example_of(label: str) -> Scene:
    """The first scene with a thing, of those that are not indexed."""
    seeds: Iterable[int] = range(FIRST_SEED - 1, 0, -1)
    return next(
        scene
        for scene in (make_scene(seed, split="test") for seed in seeds)
        if label in scene.labels and scene.main.label == label
    )


def thing_of(find: Find, scene: Scene) -> SceneObject | None:
    """The true object under a find's mask."""
    assert find.mask is not None
    mask = find.mask.to_numpy()
    best = max(scene.objects, key=lambda thing: mask_iou(mask, thing.mask))
    return best if mask_iou(mask, best.mask) > HIT_IOU else None


def rights(question: Question, finds: Finds, scenes: dict[str, Scene]) -> int:
    """How many of the finds are right."""
    return sum(
        question.is_right(thing_of(find, scenes[find.path]), scenes[find.path]) for find in finds
    )


def answers(question: Question, scenes: dict[str, Scene]) -> int:
    """How many things in the world are what was meant."""
    return sum(question.is_right(thing, s) for s in scenes.values() for thing in s.objects)


def index_all(client: Client, photos: Path, store: Path) -> Summary:
    """The store from the beginning."""
    shutil.rmtree(store, ignore_errors=True)
    opened = open_store(str(store), [client], "embed_objects", {})
    found = list(sources.find([str(photos)], lambda path, reason: None))
    with console.progress_bar(shown=True) as progress:
        job = Job(opened, Servers([client], "embed_objects", {}))
        summary = job.run(found, total=len(found), progress=progress)
    opened.optimize()
    return summary


def ask(index: Index, scenes: dict[str, Scene], out: Path) -> list[dict[str, Any]]:
    """Each question's figures; its sheets are written."""
    rows = []
    for question in questions(example_of(OTHER)):
        start = time.perf_counter()
        finds = index.search(**question.query, k=K)
        elapsed_ms = 1000 * (time.perf_counter() - start)
        for suffix in sheet.SUFFIXES:
            sheet.save(finds, out / f"{question.name}{suffix}")
        rows.append(
            {
                "question": question.title,
                "such_things": answers(question, scenes),
                "right": rights(question, finds, scenes),
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


def main() -> None:
    """Index and ask."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=PICTURES)
    parser.add_argument("--out", type=Path, default=Path("build/search"))
    args = parser.parse_args()
    scenes = write_scenes(args.out / "photos", args.pictures)
    with demo_server() as server, Client(server.grpc_url, timeout_s=120) as client:
        summary = index_all(client, args.out / "photos", args.out / "index")
        rows = ask(Index.open(args.out / "index", client=client), scenes, args.out)
    print_table(summary, rows)
    record = {
        "pictures": summary.indexed,
        "objects": summary.objects,
        "failed": summary.failed,
        "pictures_per_s": round(summary.pictures_per_s, 2),
        "questions": rows,
    }
    (args.out / "results.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
