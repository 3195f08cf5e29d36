"""`python -m benchmarks.precision`: what lower precisions save, and what they cost.

Size and speed per network, against fp32 in the same run, in turns; and the demo world's truth of
held-out scenes through the served ensembles, measured by demo/evaluate.py. bf16 and bf16-int8 run
on OpenVINO, the others on ONNX Runtime. More than one point lost in any judged figure fails, half
a point for those two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fovea_client import Client
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.figures import turns
from benchmarks.machine import machine
from demo.evaluate import evaluate
from demo.served import ServedPredictor, demo_server
from export.checkpoints import SETS, Checkpoint, find
from export.errors import AccuracyLost, ExportError
from export.network import Arrays, Network
from export.pipeline import Export, load, run
from export.precision import PRECISIONS, Precision
from export.runtimes import cpu_runtime

Figures = dict[str, float]

# Of demo.evaluate's figures: accuracies, recalls and mean IoUs of the styles trained on.
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
LARGEST_LOSS: dict[str, float] = {"fp16": 0.01, "int8": 0.01, "bf16": 0.005, "bf16-int8": 0.005}


@dataclass(frozen=True)
class Speed:
    """One network in one precision, at batch 1.

    asked, precision: what was asked for, and what the policy made of it. ratio: fp32's time over
    this one's, median of the rounds, with the least and the greatest.
    """

    network: str
    asked: str
    precision: str
    bytes: int
    milliseconds: float
    ratio: float
    ratio_least: float
    ratio_greatest: float


def export_all(checkpoints: dict[str, Checkpoint], folder: Path) -> dict[Precision, Export]:
    """The model repository in every precision; each has a folder of its own."""
    exports = {
        p: Export(checkpoints, folder / p, precision=p, runtime=cpu_runtime(p)) for p in PRECISIONS
    }
    for export in exports.values():
        run(export)
    return exports


def measure_speed(
    network: Network, exports: Mapping[Precision, Export], rounds: int
) -> list[Speed]:
    """The network in every precision, in turns."""
    name, sample = network.spec.name, network.sample(1, 0)
    calls = {p: _caller(network, export, sample) for p, export in exports.items()}
    seconds = turns(calls, rounds)
    return [
        _speed(_record(export, name), precision, seconds[precision], seconds["fp32"])
        for precision, export in exports.items()
    ]


def _caller(network: Network, export: Export, sample: Arrays) -> Callable[[], object]:
    name = network.spec.name
    precision = _record(export, name)["precision"]
    session = export.runtime.open_session(export.onnx_path(name), precision)
    outputs = [tensor.name for tensor in network.spec.outputs]
    return lambda: session.run(outputs, sample)


def _record(export: Export, name: str) -> dict[str, Any]:
    manifest = json.loads((export.out / "manifest.json").read_text())
    return next(record for record in manifest["networks"] if record["name"] == name)


def _speed(record: dict[str, Any], asked: str, seconds: list[float], whole: list[float]) -> Speed:
    ratios = [theirs / ours for theirs, ours in zip(whole, seconds, strict=True)]
    return Speed(
        network=record["name"],
        asked=asked,
        precision=record["precision"],
        bytes=record["bytes"],
        milliseconds=1000 * statistics.median(seconds),
        ratio=statistics.median(ratios),
        ratio_least=min(ratios),
        ratio_greatest=max(ratios),
    )


def measure_truth(exports: Mapping[Precision, Export], scenes: int) -> dict[str, Figures]:
    """The served answers of each precision against the same scenes."""
    figures = {}
    for precision, export in exports.items():
        with demo_server(export.repository) as server, Client(server.grpc_url) as client:
            figures[precision] = evaluate(ServedPredictor(client), scenes)
    return figures


def losses(truth: Mapping[str, Figures]) -> dict[str, Figures]:
    """What each lower precision loses of the judged figures; below 0 it gains."""
    whole = truth["fp32"]
    return {
        precision: {name: whole[name] - figures[name] for name in JUDGED}
        for precision, figures in truth.items()
        if precision != "fp32"
    }


def check_losses(lost: Mapping[str, Figures]) -> None:
    """Raise AccuracyLost where any figure loses more than LARGEST_LOSS of its precision."""
    found = [
        f"{precision} loses {100 * loss:.1f} points of {name}, "
        f"at most {100 * LARGEST_LOSS[precision]:g} may be lost"
        for precision, figures in lost.items()
        for name, loss in figures.items()
        if loss > LARGEST_LOSS[precision]
    ]
    if found:
        raise AccuracyLost(f"{'; '.join(found)}: keep more layers fp32 in export/precision.py")


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


def measure(checkpoints: dict[str, Checkpoint], folder: Path, scenes: int, rounds: int) -> Any:
    """Export, time and judge; returns speeds and truth."""
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("exporting", total=None)
        exports = export_all(checkpoints, folder)
        speeds = []
        for network in load(checkpoints).networks:
            progress.update(task, description=f"timing {network.spec.name}")
            speeds += measure_speed(network, exports, rounds)
    return speeds, measure_truth(exports, scenes)


def main() -> None:
    """Measure, print, write and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=Path, help="a folder of clip, grounding_dino, sam")
    parser.add_argument("--work", type=Path, default=Path("build/export/precision"))
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, default=Path("build/precision.json"))
    args = parser.parse_args()
    sources = SETS["demo"]
    if args.checkpoints:
        sources = {family: str(args.checkpoints / family) for family in sources}
    try:
        checkpoints = {family: find(family, source) for family, source in sources.items()}
        speeds, truth = measure(checkpoints, args.work, args.scenes, args.rounds)
        lost = losses(truth)
        record = {
            "scenes": args.scenes,
            "rounds": args.rounds,
            "networks": [asdict(speed) for speed in speeds],
            "truth": truth,
            "lost": lost,
            "machine": machine(),
        }
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(record, indent=1) + "\n")
        for table in tables(speeds, truth):
            Console().print(table)
        check_losses(lost)
    except ExportError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
