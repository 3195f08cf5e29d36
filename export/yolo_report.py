"""`python -m export.yolo_report`: compares YOLO files here with the upstream packages.

The packages live in a separate environment (`make families-yolo`): they are not part of this
project. They write the files and answer; here the same files are exported and asked. Then the
exported graphs are timed beside the packages' own networks, for the table of real sizes
(`export.family_real_size`): the files are of real architectures, with random weights.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy.optimize import linear_sum_assignment

from export.checkpoints import find
from export.family_real_size import FIGURES, CheckpointRow, keep_row, network_row
from export.machine import machine
from export.members import MEMBERS, Exported, MemberExport, code_of, export_member
from export.parity import open_onnxruntime
from fovea import boxes
from fovea.images import Picture
from fovea.members import Source
from fovea.roles import Detections, Selection

UPSTREAM = Path(__file__).parent / "yolo_upstream"
SAMPLES = Path("demo/samples")
# Boxes are in pixels of the original picture, whose letterbox is rounded to whole ones.
WITHIN_PX, WITHIN_SCORE = 0.05, 1e-4
FAR = 1e6
# What stands for each family among the checkpoints of real size, by its file.
HEADLINES = {"yolov8.onnx": "yolov8n", "yolo_nas.onnx": "yolo_nas_s"}
console = Console()

Floats = NDArray[np.float32]


def main(
    python: Annotated[Path, typer.Option(help="Interpreter of the environment with the packages.")],
    work: Path = Path("build/yolo"),
    out: Annotated[Path, typer.Option("--json")] = Path("build/families-yolo.json"),
    figures: Annotated[Path, typer.Option(help="Where the times go.")] = FIGURES,
    pictures: Annotated[int, typer.Option(help="How many of the samples.")] = 6,
) -> None:
    """Compare each file and picture; exits with 1 if a box, score or class differs."""
    work.mkdir(parents=True, exist_ok=True)

    def ask_upstream(*arguments: str | Path) -> None:
        subprocess.run([python.absolute(), UPSTREAM.absolute(), *arguments], cwd=work, check=True)

    ask_upstream("answers", ".", *_arrays(work, pictures))
    rows = json.loads((work / "upstream.json").read_text())
    exported = {name: _export(work / name) for name in dict.fromkeys(row["file"] for row in rows)}
    compared = [_compare(exported[row["file"]], row, work / row["picture"]) for row in rows]
    out.write_text(json.dumps(compared, indent=1) + "\n")
    console.print(_table(compared))
    for file, checkpoint in HEADLINES.items():
        graph = exported[file].graph("").absolute()
        ask_upstream("speed", file, graph, "speed.json")
        times = json.loads((work / "speed.json").read_text())
        keep_row(figures, _row_of_size(checkpoint, exported[file], times))
    equal = sum(row["equal"] for row in compared)
    console.print(f"{equal} of {len(compared)} answers match the upstream packages', in {out}")
    raise typer.Exit(equal != len(compared))


def _arrays(work: Path, count: int) -> list[str]:
    """Samples as arrays, cropped so that none is square: both sides see the same pixels."""
    names = []
    for index, path in enumerate(sorted(SAMPLES.glob("*.jpg"))[:count]):
        pixels = np.asarray(Image.open(path).convert("RGB"))
        height, width = pixels.shape[:2]
        cut = pixels[: height - 61 * (index % 2), : width - 90 * (1 - index % 2)]
        np.save(work / f"{path.stem}.npy", cut)
        names.append(f"{path.stem}.npy")
    return names


def _export(path: Path) -> Exported:
    names = "class 0, class 1, class 2, class 3, class 4"
    options = (("names", names),) if path.stem == "yolo_nas" else ()
    request = MemberExport(find(path.stem.partition("-")[0], Source(str(path))), options)
    with console.status(path.name):
        return export_member(request, MEMBERS, report=lambda network, what: None)


def _row_of_size(checkpoint: str, exported: Exported, times: dict[str, float]) -> CheckpointRow:
    family = exported.member.family
    network = network_row(exported, "", **times)
    return CheckpointRow(family, checkpoint, [network], machine(), code_of(family))


def _compare(exported: Exported, row: dict[str, Any], picture: Path) -> dict[str, Any]:
    """The largest differences of one answer."""
    role, pixels = exported.member.play(), np.load(picture)
    canvas, _ = role.geometry.apply(Picture(Image.fromarray(pixels)))
    network = role.networks[0]
    names = [tensor.name for tensor in network.outputs]
    answers = open_onnxruntime(exported.graph("")).run(names, {"pixel_values": canvas[None]})
    answer = {name: array[0] for name, array in zip(names, answers, strict=True)}
    selection = Selection(box_threshold=row["threshold"], max_boxes=300)
    found = role.select(answer, pixels.shape[:2], selection)
    theirs = boxes.clip(np.array(row["boxes"], np.float32).reshape(-1, 4), pixels.shape[:2])
    box_px, score = _differences(found, theirs, row)
    return {
        "file": row["file"],
        "picture": picture.stem,
        "boxes": len(theirs),
        "box_px": box_px,
        "score": score,
        "equal": bool(len(theirs) and box_px <= WITHIN_PX and score <= WITHIN_SCORE),
    }


def _differences(found: Detections, theirs: Floats, row: dict[str, Any]) -> tuple[float, float]:
    """Largest difference of boxes and of scores; nearly equal scores may change places.

    Infinite if one side has more boxes of a class than the other.
    """
    if sorted(found.label_indices.tolist()) != sorted(row["classes"]):
        return np.inf, np.inf
    scores = np.array(row["scores"], np.float32)
    box_px = np.abs(found.boxes_xyxy[:, None] - theirs[None]).max(axis=2, initial=0)
    others = found.label_indices[:, None] != np.array(row["classes"], np.int64)[None]
    ours, beside = linear_sum_assignment(box_px + FAR * others)
    return (
        float(box_px[ours, beside].max(initial=0)),
        float(np.abs(found.scores[ours] - scores[beside]).max(initial=0)),
    )


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table("file", "picture", title="YOLO files, against the packages that wrote them")
    for column in ("boxes", "box px", "score", "equal"):
        table.add_column(column, justify="right")
    for row in rows:
        figures = (str(row["boxes"]), f"{row['box_px']:.1e}", f"{row['score']:.1e}")
        table.add_row(row["file"], row["picture"], *figures, str(row["equal"]))
    return table


if __name__ == "__main__":
    typer.run(main)
