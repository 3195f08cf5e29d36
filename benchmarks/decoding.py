"""`python -m benchmarks.decoding`: what the decoding of large JPEGs costs, in full and scaled.

One caller asks main_object for photos from 0.3 to 24 megapixels, served with each decode margin
(`fovea.deployment.Deployment`). The first step decodes, checks and resizes: its share of the
request is what decoding costs at most. On the demo world the answers are judged by the truth.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from fovea_client import Client
from fovea_client.statistics import difference, read_statistics
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.exports import FIRST_STEP, Exported, Source, export
from benchmarks.figures import Spread
from benchmarks.loads import answered, closed_loop
from benchmarks.options import CheckpointSet, Edge, Json, PrecisionName, RuntimeName, ScaleName
from benchmarks.pipelines import ServedSide
from benchmarks.questions import Question, to_jpeg
from benchmarks.results import write_json
from benchmarks.run import SCALES
from benchmarks.tables import on_terminal
from demo.evaluate import Trial, judge, make_trial, mean
from demo.reference import MainObject
from export.errors import ExportError
from export.machine import machine
from export.runtimes import RUNTIMES

LONGEST_EDGES = (640, 1632, 4032, 6000)
MARGINS = (0.0, 1.0, 2.0)
FIRST_SEED = 5_000_000
# Levels of noise, as of a camera: smooth pictures are small files and decode faster.
GRAIN, TILE = 6.0, 512

console = Console(stderr=True)


@dataclass(frozen=True)
class Cost:
    """One size of pictures under one margin.

    first_step_ms: of a request, by Triton. share: of the whole, the same. accuracy: of the answers
    by the truth, empty without one.
    """

    margin: float
    megapixels: float
    jpeg_mb: float
    request_ms: Spread
    first_step_ms: float
    share: float
    accuracy: dict[str, float]


@dataclass(frozen=True)
class Photo:
    """A scene as a camera with more pixels would have taken it.

    trial: its truth at that size, without the pixels.
    """

    question: Question
    trial: Trial
    megapixels: float


def photo(trial: Trial, longest_edge: int) -> Photo:
    """The scene at that size, with grain."""
    height, width = trial.scene.image.shape[:2]
    scale = longest_edge / max(height, width)
    size = (round(width * scale), round(height * scale))
    smooth = np.asarray(Image.fromarray(trial.scene.image).resize(size, Image.Resampling.BICUBIC))
    noise = np.random.default_rng(longest_edge).normal(0, GRAIN, (TILE, TILE, 3)).astype(np.int16)
    repeats = (-(-size[1] // TILE), -(-size[0] // TILE), 1)
    grain = np.tile(noise, repeats)[: size[1], : size[0]]
    pixels = np.clip(smooth + grain, 0, 255).astype(np.uint8)
    main = trial.scene.main
    mask = Image.fromarray(main.mask).resize(size, Image.Resampling.NEAREST)
    x1, y1, x2, y2 = (edge * scale for edge in main.box_xyxy)
    larger = replace(main, box_xyxy=(x1, y1, x2, y2), mask=np.asarray(mask))
    scene = replace(trial.scene, image=pixels[:0], objects=(larger,), main_index=0)
    question = Question(to_jpeg(Image.fromarray(pixels)), trial.candidates, larger.box_xyxy)
    return Photo(question, replace(trial, scene=scene, named=larger), size[0] * size[1] / 1e6)


def measure(exported: Exported, margins: Sequence[float], count: int, work: Path) -> Iterator[Cost]:
    """Every size under every margin, one server after the other."""
    scenes = [make_trial(FIRST_SEED + index) for index in range(count)]
    with Progress(console=console) as progress:
        sizes = [
            [photo(scene, edge) for scene in progress.track(scenes, description=f"{edge} pixels")]
            for edge in LONGEST_EDGES
        ]
        bar = progress.add_task("asking", total=len(margins) * len(sizes))
        for margin in margins:
            settings = replace(exported.source.serving, decode_margin=margin)
            with exported.served(settings, work) as (_, client):
                for photos in sizes:
                    yield _row(client, margin, photos, exported.source.has_truth)
                    progress.advance(bar)


def _row(client: Client, margin: float, photos: Sequence[Photo], truth: bool) -> Cost:
    side = ServedSide(client, callers=1)
    side.ask([photos[0].question])  # the first request is slow
    answers: list[MainObject] = []
    before = read_statistics(client.url)

    def ask(number: int) -> None:
        answers.extend(side.ask([photos[number].question]))

    samples = answered(closed_loop(ask, 1, seconds=0, at_least=len(photos)))
    step = difference(read_statistics(client.url), before)[FIRST_STEP]
    judged = [judge(answer, photo.trial) for answer, photo in zip(answers, photos, strict=True)]
    figures = {name: mean(vars(one)[name] for one in judged) for name in vars(judged[0])}
    return Cost(
        margin=margin,
        megapixels=mean(photo.megapixels for photo in photos),
        jpeg_mb=mean(len(photo.question.jpeg) / 1e6 for photo in photos),
        request_ms=Spread.of(1000 * samples.latencies_s),
        first_step_ms=1000 * step.busy_s / len(photos),
        share=step.busy_s / float(samples.latencies_s.sum()),
        accuracy=figures if truth else {},
    )


def table_of(rows: Sequence[Cost]) -> Table:
    """The rows for people."""
    by_size = [
        {
            "megapixels": f"{row.megapixels:.1f}",
            "JPEG MB": row.jpeg_mb,
            "margin": f"{row.margin:g}" if row.margin else "in full",
            "request ms": f"{row.request_ms.median:.1f}",
            "first step ms": f"{row.first_step_ms:.1f}",
            "share": f"{row.share:.0%}",
            **{name: f"{value:.3f}" for name, value in row.accuracy.items()},
        }
        for row in sorted(rows, key=lambda row: (row.megapixels, row.margin))
    ]
    return on_terminal(by_size, "One caller of main_object")


def main(
    checkpoint_set: CheckpointSet = "demo",
    grounding_dino_edge: Edge = None,
    precision: PrecisionName = "fp32",
    runtime: RuntimeName = "onnxruntime",
    scale: ScaleName = "full",
    pictures: Annotated[int, typer.Option(min=1, help="Of each size.")] = 25,
    margin: Annotated[list[float] | None, typer.Option(help="Only these; repeat.")] = None,
    work: Annotated[Path, typer.Option(help="For a repository.")] = Path("build/decoding"),
    out: Json = Path("build/decoding.json"),
) -> None:
    """Measure, print and write; of the scale only the settings of the server count."""
    source = Source(
        checkpoint_set,
        edge=grounding_dino_edge,
        precision=precision,
        runtime=RUNTIMES[runtime],
        serving=SCALES[scale].serving,
    )
    try:
        with console.status("exporting") as status:
            exported = export(source, lambda name, what: status.update(f"{name}: {what}"))
        rows = [*measure(exported, margin or MARGINS, pictures, work)]
    except (ExportError, RuntimeError) as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        sys.exit(1)
    Console().print(table_of(rows))
    write_json(out, {"rows": [asdict(row) for row in rows], "machine": machine()})


if __name__ == "__main__":
    typer.run(main)
