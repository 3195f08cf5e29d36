"""Gates for every exported network beyond parity: its answers vary, are as exact as PyTorch's in
float32, and are the same on OpenVINO."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from export.errors import ParityError
from export.float64 import run_float64
from export.members import Exported, Opened
from export.network import Arrays, Network
from export.parity import compare, match_rows, open_onnxruntime, run_torch
from fovea.openvino_session import OpenVinoSession
from fovea.specs import MASKED_LOGIT, Tolerance

# Pictures in one batch.
PICTURES = 3
# An output whose pictures differ by less, relative to its largest value, would prove nothing.
LEAST_SPREAD = 1e-3
# Boxes of random masks cover the whole picture.
MAY_BE_CONSTANT = ("mask_boxes",)
# Relative to PyTorch's own distance from float64; and a distance too small for float32 to count.
MOST_DRIFT = 2.0
ROUNDING = 2e-7


@dataclass(frozen=True)
class Gates:
    """The worst over a member's networks and outputs.

    spread: how far apart pictures' answers are, relative to the output's largest value. drift: the
    graph's distance from float64 over PyTorch's own in float32, both the root of the mean square of
    an output over all samples (a few values may be closer by chance); None for a checkpoint that is
    a graph, which PyTorch does not run. openvino: the largest difference between OpenVINO and ONNX
    Runtime, defined as in `parity.Agreement`.
    """

    spread: float
    drift: float | None
    openvino: float


def gates_of(opened: Opened, exported: Exported) -> Gates:
    """The figures of all networks of a member; raises ParityError if OpenVINO cannot run one."""
    found = [
        _gates(network, exported.graph(opened.role.part(network.spec.name)))
        for network in opened.networks
    ]
    drifts = [one.drift for one in found if one.drift is not None]
    return Gates(
        spread=min(one.spread for one in found),
        drift=max(drifts, default=None),
        openvino=max(one.openvino for one in found),
    )


def _gates(network: Network, path: Path) -> Gates:
    names = [tensor.name for tensor in network.spec.outputs]
    session, other = open_onnxruntime(path), _open_openvino(network, path)
    spread, openvino = np.inf, 0.0
    ours, theirs = [], []
    for variant in range(network.variants):
        sample = network.sample(PICTURES, variant)
        got = dict(zip(names, session.run(names, sample), strict=True))
        spread = min(spread, *_spreads(got))
        there = dict(zip(names, other.run(names, sample), strict=True))
        openvino = max(openvino, _difference(network, got, there))
        if network.graph is None:
            exact = run_float64(network, sample)
            ours.append(_squares(network, exact, got))
            theirs.append(_squares(network, exact, run_torch(network, sample)))
    return Gates(spread, drift(ours, theirs) if ours else None, openvino)


def drift(ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]]) -> float:
    """Our distance from float64 over PyTorch's, of the worst output.

    Both have mean squares by sample and output; an output's are averaged over the samples.
    """
    own, pytorch = (np.sqrt(np.mean(side, axis=0)) for side in (ours, theirs))
    return float(np.max(own / np.maximum(pytorch, ROUNDING)))


def _open_openvino(network: Network, path: Path) -> OpenVinoSession:
    try:
        return OpenVinoSession(path)
    except RuntimeError as error:
        raise ParityError(f"{network.spec.name}: OpenVINO does not take it: {error}") from error


def _spreads(answers: Arrays) -> Iterator[float]:
    """How far the first picture's answer is from the nearest other one's, for each output."""
    for name, values in answers.items():
        if name not in MAY_BE_CONSTANT:
            apart = min(float(np.abs(other - values[0]).max()) for other in values[1:])
            yield apart / max(1e-9, float(np.abs(values).max()))


def _squares(network: Network, exact: Arrays, got: Arrays) -> list[float]:
    """The mean square of each output's distance from float64, over the rows that count.

    Distances are relative to the largest magnitude if that is above 1.
    """
    share = network.spec.tolerance.rows
    if share < 1 and "logits" in exact:  # as `parity.compare`
        exact, got = match_rows(network.spec, exact, got)
    found = []
    for name, values in exact.items():
        scale = max(1.0, float(np.abs(values[values != MASKED_LOGIT]).max(initial=0)))
        squares = ((got[name] - values) / scale) ** 2
        rows = np.sort(squares.reshape(PICTURES * values.shape[1], -1).mean(axis=1))
        found.append(float(rows[: max(1, int(share * len(rows)))].mean()))
    return found


def _difference(network: Network, expected: Arrays, got: Arrays) -> float:
    """The largest difference of any output, over the rows that count."""
    tolerance = Tolerance(difference=1.0, rows=network.spec.tolerance.rows)
    spec = replace(network.spec, tolerance=tolerance)
    rounded = {name: array.astype(got[name].dtype) for name, array in expected.items()}
    return max(one.difference for one in compare(spec, rounded, got, PICTURES, 0))
