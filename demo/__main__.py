"""`python -m demo`: exports the demo checkpoints, serves them, and cuts out the main objects.

Writes an annotated picture for each sample and results.json below the output folder.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from fovea_client import Client, MainObject
from fovea_client.draw import draw
from fovea_client.statistics import ModelStatistics, difference, read_statistics
from PIL import Image
from pycocotools import mask as coco
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from demo.evaluate import box_iou, mask_iou, mean
from demo.samples import FOLDER as SAMPLES
from demo.served import EXPORT_FOLDER, demo_server, export_demo
from fovea.deployment import Deployment
from fovea.house import wire
from fovea.manifest import exported_deployment

console = Console(stderr=True)
TABLE_WIDTH = 132

VERB = "main_object"
# The column of the step that belongs to no member.
DECODE = "decode"


@dataclass(frozen=True)
class Row:
    """One picture's answer against its truth; times in milliseconds, IoUs 0 if not found."""

    file: str
    label: str | None
    true_label: str
    found: bool
    label_score: float
    box_score: float
    mask_score: float
    box: list[float] | None
    mask_area: int
    box_iou: float
    mask_iou: float
    total_ms: float
    step_ms: dict[str, float]


@dataclass(frozen=True)
class Steps:
    """The verb's models, grouped into the table's columns.

    Attributes:
        slots: the verb's slots -> the column of the member that fills it.
        models: column -> the verb's models whose time it adds up, in the order of the table.
    """

    slots: dict[str, str]
    models: dict[str, tuple[str, ...]]


def steps_of(deployment: Deployment, name: str = VERB) -> Steps:
    """The steps of a verb, by the members that they belong to."""
    verb = next(verb for verb in deployment.verbs if verb.name == name)
    ensemble = next(one for one in wire(deployment).ensembles if one.name == name)
    columns = {member: _column(member) for _, member in verb.members}
    models: dict[str, list[str]] = {DECODE: [], **{name: [] for name in columns.values()}}
    for step in ensemble.steps:
        owners = [m for m in columns if step.model == m or step.model.startswith(f"{m}_")]
        models[columns[max(owners, key=len)] if owners else DECODE].append(step.model)
    slots = {slot: columns[member] for slot, member in verb.members}
    return Steps(slots, {column: tuple(names) for column, names in models.items()})


def _column(member: str) -> str:
    """A short heading: DINO for grounding_dino."""
    return member.rpartition("_")[2].upper()


def ask(client: Client, picture: Path, truth: dict[str, Any]) -> MainObject:
    """Ask by the sample's description if it has one, or else by its five candidate labels."""
    if truth["description"]:
        return client.main_object(picture, description=truth["description"])
    return client.main_object(picture, truth["candidates"])


def answer(
    client: Client, picture: Path, truth: dict[str, Any], steps: Steps
) -> tuple[Row, MainObject]:
    """The server's answer about one sample, measured."""
    before = read_statistics(client.url)
    start = time.perf_counter()
    found = ask(client, picture, truth)
    total_s = time.perf_counter() - start
    spent = difference(read_statistics(client.url), before)
    step_ms = {
        column: 1000 * sum(_seconds(spent[model]) for model in models)
        for column, models in steps.models.items()
    }
    return compare(picture.name, found, truth, 1000 * total_s, step_ms), found


def compare(
    file: str,
    found: MainObject,
    truth: dict[str, Any],
    total_ms: float,
    step_ms: dict[str, float],
) -> Row:
    """The answer beside the truth of its scene."""
    real = truth["objects"][truth["main_index"]]
    seen = found.box is not None and found.mask is not None
    return Row(
        file=file,
        label=found.label,
        true_label=truth["label"],
        found=found.found,
        label_score=found.label_score or 0.0,
        box_score=found.box_score or 0.0,
        mask_score=found.mask_score or 0.0,
        box=found.box.tolist() if seen else None,
        mask_area=found.mask.area if seen else 0,
        box_iou=box_iou(tuple(found.box.tolist()), tuple(real["box_xyxy"])) if seen else 0.0,
        mask_iou=mask_iou(found.mask.to_numpy(), true_mask(real["rle"])) if seen else 0.0,
        total_ms=total_ms,
        step_ms=step_ms,
    )


def _seconds(spent: ModelStatistics) -> float:
    return spent.input_s + spent.compute_s + spent.output_s


def true_mask(rle: dict[str, Any]) -> np.ndarray:
    """bool [H, W] from the truth's COCO run lengths."""
    height, width = rle["size"]
    return coco.decode(coco.frPyObjects(rle, height, width)).astype(bool)


def table_of(rows: list[Row], steps: Steps) -> Table:
    """All rows, with means below."""
    table = Table(
        title="The main object of each picture",
        show_footer=True,
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    right = sum(row.label == row.true_label for row in rows)
    table.add_column("picture", "mean", no_wrap=True)
    table.add_column("label", f"{right} of {len(rows)} right", no_wrap=True)
    scores = {
        steps.slots["ranks"]: [row.label_score for row in rows],
        steps.slots["detects"]: [row.box_score for row in rows],
        steps.slots["cuts"]: [row.mask_score for row in rows],
    }
    for name, values in scores.items():
        table.add_column(f"{name}\nscore", f"{mean(values):.2f}", justify="right", no_wrap=True)
    numbers = {
        "box": "",
        "mask\npixels": "",
        "box\nIoU": f"{mean(row.box_iou for row in rows):.2f}",
        "mask\nIoU": f"{mean(row.mask_iou for row in rows):.2f}",
    }
    for step in steps.models:
        numbers[f"{step}\nms"] = f"{mean(row.step_ms[step] for row in rows):.0f}"
    numbers["total\nms"] = f"{mean(row.total_ms for row in rows):.0f}"
    for name, average in numbers.items():
        table.add_column(name, average, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> list[str]:
    right = row.label == row.true_label
    label = f"[green]{row.label}[/]" if right else f"[red]{row.label}[/] not {row.true_label}"
    return [
        Path(row.file).stem,
        label,
        f"{row.label_score:.2f}",
        f"{row.box_score:.2f}",
        f"{row.mask_score:.2f}",
        " ".join(f"{edge:.0f}" for edge in row.box or []) or "not found",
        str(row.mask_area),
        f"{row.box_iou:.2f}",
        f"{row.mask_iou:.2f}",
        *(f"{ms:.0f}" for ms in row.step_ms.values()),
        f"{row.total_ms:.0f}",
    ]


def contact_sheet(pictures: list[Image.Image], columns: int = 4, edge: int = 360) -> Image.Image:
    """The annotated pictures on one page, each fitted into a square cell."""
    lines = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * edge, lines * edge), "white")
    for index, picture in enumerate(pictures):
        cell = picture.copy()
        cell.thumbnail((edge - 8, edge - 8))
        row, column = divmod(index, columns)
        left = column * edge + (edge - cell.width) // 2
        sheet.paste(cell, (left, row * edge + (edge - cell.height) // 2))
    return sheet


def run(out: Path) -> tuple[list[Row], Steps]:
    """Serve, ask about every sample, and write the pictures."""
    truths = json.loads((SAMPLES / "truth.json").read_text())
    with console.status("exporting the demo checkpoints, comparing each network with PyTorch"):
        repository = export_demo()
    console.print(f"exported to {EXPORT_FOLDER}")
    steps = steps_of(exported_deployment(EXPORT_FOLDER))
    rows, drawings = [], []
    with console.status("starting Triton") as status, demo_server(repository) as server:
        status.stop()
        console.print(f"Triton serves {len(server.models)} models on {server.grpc_url}")
        with Client(server.grpc_url) as client:
            for truth in track(truths, description="pictures", console=console):
                picture = SAMPLES / truth["file"]
                row, found = answer(client, picture, truth, steps)
                drawn = draw(picture, found)
                drawn.save(out / f"{picture.stem}.png")
                rows.append(row)
                drawings.append(drawn)
    contact_sheet(drawings).save(out / "all.png")
    return rows, steps


def main(
    out: Annotated[Path, typer.Option(help="Where pictures and figures go.")] = Path("build/demo"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the figures instead of the table.")
    ] = False,
) -> None:
    """Run the demo and print its table."""
    out.mkdir(parents=True, exist_ok=True)
    rows, steps = run(out)
    results = out / "results.json"
    record = {"pictures": [asdict(row) for row in rows]}
    results.write_text(json.dumps(record, indent=1) + "\n")
    console.print(f"pictures in {out}, figures in {results}")
    if as_json:
        print(json.dumps(record))
    else:
        Console(width=max(TABLE_WIDTH, console.width)).print(table_of(rows, steps))


if __name__ == "__main__":
    typer.run(main)
