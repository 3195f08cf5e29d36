"""`python -m benchmarks.decoding`: what the decoding of large JPEGs costs, in full and scaled.

One caller asks main_object for photos from 0.3 to 24 megapixels, served with each decode margin
(`fovea.pipeline.PipelineSpec`). The first step decodes, checks and resizes: its share of the
request is what decoding costs at most. On the demo world the answers are judged by the truth.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from fovea_client import Client
from fovea_client.statistics import difference, read_statistics
from PIL import Image
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.exports import CHECKPOINT_SETS, Exported, Source, export, served_with
from benchmarks.loads import closed_loop
from benchmarks.machine import machine
from benchmarks.pipelines import ServedSide
from benchmarks.questions import Question, to_question
from benchmarks.scales import SCALES
from benchmarks.spread import Spread
from demo.evaluate import Trial, judge, make_trial, mean
from demo.reference import MainObject
from export.errors import ExportError
from export.precision import PRECISIONS
from export.runtimes import RUNTIMES
from fovea.pipeline import Settings

FIRST_STEP = "preprocess_image"
LONGEST_EDGES = (640, 1632, 4032, 6000)
MARGINS = (0.0, 1.0, 2.0)
FIRST_SEED = 5_000_000
# Levels of noise, as of a camera: smooth pictures are small files and decode faster.
GRAIN = 6.0
TIMEOUT_S = 600.0
EXIT_TIMEOUT_S = 5

console = Console(stderr=True)


@dataclass(frozen=True)
class Row:
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


def photo(trial: Trial, longest_edge: int) -> Trial:
    """The scene as a camera with more pixels would have taken it, its truth at that size."""
    height, width = trial.scene.image.shape[:2]
    scale = longest_edge / max(height, width)
    size = (round(width * scale), round(height * scale))
    smooth = np.asarray(Image.fromarray(trial.scene.image).resize(size, Image.Resampling.BICUBIC))
    grain = np.random.default_rng(longest_edge).normal(0, GRAIN, smooth.shape)
    main = trial.scene.main
    mask = Image.fromarray(main.mask).resize(size, Image.Resampling.NEAREST)
    x1, y1, x2, y2 = (edge * scale for edge in main.box_xyxy)
    larger = replace(main, box_xyxy=(x1, y1, x2, y2), mask=np.asarray(mask))
    pixels = np.clip(smooth + grain, 0, 255).astype(np.uint8)
    scene = replace(trial.scene, image=pixels, objects=(larger,), main_index=0)
    return replace(trial, scene=scene, named=larger)


def photos(longest_edge: int, count: int) -> tuple[list[Trial], list[Question]]:
    """So many, and how they are asked for."""
    trials = [photo(make_trial(FIRST_SEED + i), longest_edge) for i in range(count)]
    return trials, [to_question(trial) for trial in trials]


def measure(exported: Exported, margins: Sequence[float], count: int, work: Path) -> Iterator[Row]:
    """Every size under every margin, one server after the other."""
    settings = exported.source.serving or Settings()
    options = {"cache_size_bytes": 0, "exit_timeout_s": EXIT_TIMEOUT_S}
    with Progress(console=console) as progress:
        bar = progress.add_task("photos", total=len(margins) * len(LONGEST_EDGES))
        for margin in margins:
            with (
                served_with(
                    replace(settings, decode_margin=margin),
                    exported.export,
                    exported.loaded.pipeline,
                    work,
                    **options,
                ) as server,
                Client(server.grpc_url, timeout_s=TIMEOUT_S) as client,
            ):
                for edge in LONGEST_EDGES:
                    trials, asked = photos(edge, count)
                    yield _row(client, margin, trials, asked, exported.source.has_truth)
                    progress.advance(bar)


def _row(
    client: Client, margin: float, trials: Sequence[Trial], asked: Sequence[Question], truth: bool
) -> Row:
    side = ServedSide(client, callers=1)
    side.ask(asked[:1])  # the first request is slow
    answers: list[MainObject] = []
    before = read_statistics(client.url)
    samples = closed_loop(
        lambda number: answers.extend(side.ask([asked[number]])),
        1,
        seconds=0,
        at_least=len(asked),
    )
    if samples.failures:
        raise RuntimeError(f"requests failed: {dict(samples.failures)}")
    step = difference(read_statistics(client.url), before)[FIRST_STEP]
    first_step_s = (step.input_s + step.compute_s + step.output_s) / len(asked)
    judged = [judge(answer, trial) for answer, trial in zip(answers, trials, strict=True)]
    figures = {name: mean(vars(one)[name] for one in judged) for name in vars(judged[0])}
    return Row(
        margin=margin,
        megapixels=mean(
            trial.scene.image.shape[0] * trial.scene.image.shape[1] / 1e6 for trial in trials
        ),
        jpeg_mb=mean(len(question.jpeg) / 1e6 for question in asked),
        request_ms=Spread.of(1000 * samples.latencies_s),
        first_step_ms=1000 * first_step_s,
        share=first_step_s / float(np.mean(samples.latencies_s)),
        accuracy=figures if truth else {},
    )


def table_of(rows: Sequence[Row]) -> Table:
    """The rows for people."""
    table = Table(title="One caller of main_object")
    for column in ("megapixels", "JPEG MB", "margin", "request ms", "first step ms", "share"):
        table.add_column(column, justify="right")
    for name in rows[0].accuracy:
        table.add_column(name, justify="right")
    for row in sorted(rows, key=lambda row: (row.megapixels, row.margin)):
        table.add_row(
            f"{row.megapixels:.1f}",
            f"{row.jpeg_mb:.2f}",
            f"{row.margin:g}" if row.margin else "in full",
            f"{row.request_ms.median:.1f}",
            f"{row.first_step_ms:.1f}",
            f"{row.share:.0%}",
            *(f"{value:.3f}" for value in row.accuracy.values()),
        )
    return table


def main(
    checkpoint_set: Annotated[
        str, typer.Option("--set", help=f"One of {', '.join(CHECKPOINT_SETS)}.")
    ] = "demo",
    grounding_dino_edge: Annotated[int | None, typer.Option(help="As of the export.")] = None,
    precision: Annotated[str, typer.Option(help=f"One of {', '.join(PRECISIONS)}.")] = "fp32",
    runtime: Annotated[str, typer.Option(help=f"One of {', '.join(RUNTIMES)}.")] = "onnxruntime",
    scale: Annotated[
        str, typer.Option(help="Whose serving settings: full-size for that.")
    ] = "full",
    pictures: Annotated[int, typer.Option(min=1, help="Of each size.")] = 40,
    margin: Annotated[list[float] | None, typer.Option(help="Only these; repeat.")] = None,
    work: Annotated[Path, typer.Option(help="For a repository.")] = Path("build/decoding"),
    out: Annotated[Path, typer.Option("--json")] = Path("build/decoding.json"),
) -> None:
    """Measure, print and write."""
    source = Source(
        checkpoint_set, grounding_dino_edge, precision, RUNTIMES[runtime], SCALES[scale].serving
    )
    try:
        with console.status("exporting") as status:
            exported = export(source, lambda name, what: status.update(f"{name}: {what}"))
        rows = [*measure(exported, margin or MARGINS, pictures, work)]
    except (ExportError, RuntimeError) as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        sys.exit(1)
    Console().print(table_of(rows))
    record: dict[str, Any] = {"rows": [asdict(row) for row in rows], "machine": machine()}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
