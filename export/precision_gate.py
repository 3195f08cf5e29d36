"""Measures what lower precisions save, network by network, and limits what they may cost.

`export.parity` bounds each network's answers; this bounds the accuracy that follows: figures
against the truth, shares between 0 and 1, by name and precision.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from export.deployments import Export
from export.errors import AccuracyLost
from export.network import Arrays, Network
from export.precision import Precision
from export.timing import turns
from fovea.layout import MANIFEST

Figures = dict[str, float]

LARGEST_LOSS: dict[str, float] = {"fp16": 0.01, "int8": 0.01, "bf16": 0.005, "bf16-int8": 0.005}


@dataclass(frozen=True)
class Speed:
    """One network in one precision, at batch 1.

    asked, precision: the requested one, and the one by the policy. ratio: fp32's time over this
    one's, median of the rounds, with the least and the greatest.
    """

    network: str
    asked: str
    precision: str
    bytes: int
    milliseconds: float
    ratio: float
    ratio_least: float
    ratio_greatest: float


def measure_speed(
    network: Network, exports: Mapping[Precision, Export], rounds: int
) -> list[Speed]:
    """Time the network in every precision, in turns; fp32 must be among them."""
    name, sample = network.spec.name, network.sample(1, 0)
    records = {precision: _record(export, name) for precision, export in exports.items()}
    calls = {p: _caller(network, e, records[p]["precision"], sample) for p, e in exports.items()}
    seconds = turns(calls, rounds)
    speeds = []
    for asked, record in records.items():
        pairs = zip(seconds["fp32"], seconds[asked], strict=True)
        ratios = [whole / lower for whole, lower in pairs]
        speeds.append(
            Speed(
                network=name,
                asked=asked,
                precision=record["precision"],
                bytes=record["bytes"],
                milliseconds=1000 * statistics.median(seconds[asked]),
                ratio=statistics.median(ratios),
                ratio_least=min(ratios),
                ratio_greatest=max(ratios),
            )
        )
    return speeds


def _caller(
    network: Network, export: Export, precision: Precision, sample: Arrays
) -> Callable[[], object]:
    session = export.form.runtime.open_session(export.onnx_path(network.spec.name), precision)
    outputs = [tensor.name for tensor in network.spec.outputs]
    return lambda: session.run(outputs, sample)


def _record(export: Export, name: str) -> dict[str, Any]:
    manifest = json.loads((export.out / MANIFEST).read_text())
    return next(record for record in manifest["networks"] if record["name"] == name)


def losses(truth: Mapping[str, Figures]) -> dict[str, Figures]:
    """How much of each figure every lower precision loses; below 0 it gains."""
    whole = truth["fp32"]
    return {
        precision: {name: whole[name] - figures[name] for name in whole}
        for precision, figures in truth.items()
        if precision != "fp32"
    }


def check_losses(lost: Mapping[str, Figures]) -> None:
    """Raise AccuracyLost if a figure loses more than LARGEST_LOSS of its precision."""
    found = [
        f"{precision} loses {100 * loss:.1f} points of {name}, "
        f"at most {100 * LARGEST_LOSS[precision]:g} may be lost"
        for precision, figures in lost.items()
        for name, loss in figures.items()
        if loss > LARGEST_LOSS[precision]
    ]
    if found:
        raise AccuracyLost(f"{'; '.join(found)}: keep more layers fp32 in export/precision.py")
