"""`python -m benchmarks.gpu`: the same on a CUDA machine, against PyTorch in fp16.

Serves fp16 networks by ONNX Runtime's CUDA provider, then by its TensorRT provider where a session
can really have it: the package onnxruntime-gpu has both, TensorRT itself comes beside it, in the
release that the package was built with. The targets are for an H100. Without CUDA it says what is
missing and exits with NO_CUDA; `--device cpu` takes the same way on the CPU.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import onnx.parser
import onnxruntime
import torch
import typer
from rich.console import Console

from benchmarks import report
from benchmarks.exports import CLIP_IMAGE_ENCODER, GROUNDING_DINO, SAM_IMAGE_ENCODER
from benchmarks.networks import EAGER, ONNX
from benchmarks.options import CheckpointSet, Edge, Minutes, ScaleName, Section
from benchmarks.order import SECTIONS, Order
from benchmarks.pipelines import TRANSFORMERS
from benchmarks.results import Results, best, write_json
from benchmarks.run import run
from benchmarks.tables import of, on_terminal
from export.report import STAND_IN

NO_CUDA = 3
# Ratios that an H100 should reach: of each network at its best batch, and of main_object.
NETWORK_AIM = 2.0
MAIN_OBJECT_AIM = 4.0
SMALLEST_GRAPH = (
    '<ir_version: 8, opset_import: ["": 17]> smallest (float[1] x) => (float[1] y) { y = Neg(x) }'
)
JUDGED = (CLIP_IMAGE_ENCODER, GROUNDING_DINO, SAM_IMAGE_ENCODER)

console = Console(stderr=True)


@dataclass(frozen=True)
class Aim:
    """A ratio to PyTorch fp16 in one run. ratio: None where it could not be measured."""

    runtime: str
    what: str
    aim: float
    ratio: float | None

    @property
    def met(self) -> bool:
        return self.ratio is not None and self.ratio >= self.aim


def lacking() -> list[str]:
    """What this machine lacks for a run on CUDA."""
    found = []
    if not torch.cuda.is_available():
        found.append("a CUDA device that PyTorch can use (torch.cuda.is_available() is False)")
    if not has_provider("CUDAExecutionProvider"):
        found.append("ONNX Runtime's CUDA provider (the extra gpu, see `make bench-gpu`)")
    return found


def has_provider(name: str) -> bool:
    """Whether a session really starts on it; what onnxruntime lists it was only built with."""
    if name not in onnxruntime.get_available_providers():
        return False
    onnxruntime.preload_dlls()
    graph = onnx.parser.parse_model(SMALLEST_GRAPH).SerializeToString()
    return name in onnxruntime.InferenceSession(graph, providers=[name]).get_providers()


def runtimes(device: str) -> list[str]:
    """How the networks are served on the device, by the names of export.runtimes."""
    if device == "cpu":
        return ["onnxruntime"]
    with suppress(ImportError):
        importlib.import_module("tensorrt")  # loads the libraries that the provider looks for
    both = has_provider("TensorrtExecutionProvider")
    return ["onnxruntime-cuda"] + (["onnxruntime-tensorrt"] if both else [])


def aims_of(runtime: str, results: Results) -> list[Aim]:
    """The networks' best batches directly against PyTorch's, and main_object served."""
    found = []
    for name in JUDGED:
        ours, theirs = (best(results.networks, name, side) for side in (ONNX, EAGER))
        ratio = ours.rows_per_s.median / theirs.rows_per_s.median if ours and theirs else None
        found.append(Aim(runtime, f"{name} / PyTorch eager", NETWORK_AIM, ratio))
    plain = [side.ratio.median for side in results.pipelines if side.side == TRANSFORMERS]
    served = plain[0] if plain else None
    return [*found, Aim(runtime, "main_object / transformers", MAIN_OBJECT_AIM, served)]


def main(
    device: Annotated[str, typer.Option(help="cuda, or cpu to try the way without one.")] = "cuda",
    checkpoint_set: CheckpointSet = STAND_IN,
    grounding_dino_edge: Edge = 800,
    scale: ScaleName = "gpu",
    minutes: Minutes = None,
    section: Section = None,
    out: Path = Path("build/bench-gpu"),
) -> None:
    """A report per runtime below OUT, and targets.json."""
    missing = lacking() if device == "cuda" else []
    if missing:
        console.print(f"No GPU benchmark here. This machine lacks {'; '.join(missing)}.")
        console.print("--device cpu takes the same way on the CPU.")
        sys.exit(NO_CUDA)
    aims: list[Aim] = []
    for runtime in runtimes(device):
        order = Order(
            checkpoint_set=checkpoint_set,
            scale=scale,
            minutes=minutes,
            grounding_dino_edge=grounding_dino_edge if checkpoint_set == STAND_IN else None,
            precision="fp16",
            runtime=runtime,
            device=device,
            sections=tuple(section or SECTIONS),
        )
        results = run(order, console)
        console.print(f"report in {report.write(results, out / runtime)}")
        aims += aims_of(runtime, results)
    rows = [of(aim) | {"met": aim.met} for aim in aims]
    Console().print(on_terminal(rows, "Targets for an H100"))
    write_json(out / "targets.json", rows)


if __name__ == "__main__":
    typer.run(main)
