"""`python -m demo.precision`: measures what lower precisions save, and what they cost.

Size and speed of each network, against fp32 in the same run, in turns; and the accuracy of the
served ensembles on held-out scenes, measured by demo/evaluate.py. bf16 and bf16-int8 run on
OpenVINO, the others on ONNX Runtime. It fails like `export.precision_gate`: if any judged figure
loses more than one point, or half a point with those two.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from fovea_client import Client
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from demo.evaluate import evaluate
from demo.served import ServedPredictor, demo_server
from export.deployments import Export, load, read_deployment, run
from export.errors import ExportError
from export.machine import machine
from export.precision import PRECISIONS, Precision
from export.precision_gate import Figures, Speed, check_losses, losses, measure_speed
from export.runtimes import cpu_runtime
from fovea.deployment_file import DeploymentFile

# The figures of demo.evaluate to judge: accuracies, recalls and mean IoUs of the trained styles.
JUDGED = (
    "label_accuracy",
    "box_recall",
    "absent_rejection",
    "mask_iou_box",
    "mask_iou_point",
    "main_object_label_accuracy",
    "main_object_box_recall",
    "main_object_mask_iou",
)


def measure(
    deployment: DeploymentFile,
    precisions: Sequence[Precision],
    folder: Path,
    scenes: int,
    rounds: int,
) -> tuple[list[Speed], dict[str, Figures]]:
    """Export each precision into its own folder, time its networks, judge its answers."""
    exports = {
        p: Export(deployment, folder / p, precision=p, runtime=cpu_runtime(p)) for p in precisions
    }
    speeds, truth = [], {}
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("exporting", total=None)
        for export in exports.values():
            run(export)
        for network in load(exports["fp32"]).networks:
            progress.update(task, description=f"timing {network.spec.name}")
            speeds += measure_speed(network, exports, rounds)
    for precision, export in exports.items():
        with demo_server(export.repository) as server, Client(server.grpc_url) as client:
            truth[precision] = evaluate(ServedPredictor(client), scenes)
    return speeds, truth


def judged(truth: Mapping[str, Figures]) -> dict[str, Figures]:
    """The figures of each precision that count."""
    return {p: {name: figures[name] for name in JUDGED} for p, figures in truth.items()}


def tables(speeds: Iterable[Speed], truth: Mapping[str, Figures]) -> list[Table]:
    """The figures for people."""
    speed_table = Table("network", "precision", title="Size and speed, batch 1, CPU")
    for column in ("MB", "ms", "times fp32's speed"):
        speed_table.add_column(column, justify="right")
    for speed in speeds:
        kept = "" if speed.asked == speed.precision else f" (stays {speed.precision})"
        spread = f"{speed.ratio_least:.2f} to {speed.ratio_greatest:.2f}"
        speed_table.add_row(
            speed.network,
            speed.asked + kept,
            f"{speed.bytes / 1e6:.2f}",
            f"{speed.milliseconds:.2f}",
            f"{speed.ratio:.2f} ({spread})",
        )
    truth_table = Table("figure", *truth, title="The demo world's truth, served")
    for name in JUDGED:
        truth_table.add_row(name, *(f"{figures[name]:.4f}" for figures in truth.values()))
    return [speed_table, truth_table]


def main(
    precision: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Beside fp32 only this one; repeatable; of {', '.join(PRECISIONS[1:])}."
        ),
    ] = None,
    checkpoints: Annotated[
        Path | None, typer.Option(help="A folder of clip, grounding_dino, sam; default: demo's.")
    ] = None,
    work: Path = Path("build/export/precision"),
    scenes: int = 300,
    rounds: int = 15,
    out: Annotated[Path, typer.Option("--json")] = Path("build/precision.json"),
) -> None:
    """Measure, print, write and judge."""
    if unknown := {*(precision or [])} - {*PRECISIONS}:
        raise typer.BadParameter(f"expected some of {', '.join(PRECISIONS)}, got {sorted(unknown)}")
    chosen = [p for p in PRECISIONS if precision is None or p in ("fp32", *precision)]
    deployment = read_deployment("demo")
    if checkpoints:
        folders = {name: str(checkpoints / name) for name in deployment.members}
        deployment = deployment.with_checkpoints(folders)
    try:
        speeds, truth = measure(deployment, chosen, work, scenes, rounds)
        lost = losses(judged(truth))
        record = {
            "scenes": scenes,
            "rounds": rounds,
            "networks": [asdict(speed) for speed in speeds],
            "truth": truth,
            "lost": lost,
            "machine": machine(),
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(record, indent=1) + "\n")
        Console().print(*tables(speeds, truth))
        check_losses(lost)
    except ExportError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    typer.run(main)
