"""Compares the exported network with its checkpoint; drift stops the export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from export.errors import ParityError
from export.network import Arrays, Network
from fovea.specs import MASKED_LOGIT, ModelSpec

Floats = NDArray[np.float32]


class Session(Protocol):
    """Runs an ONNX graph: onnxruntime's InferenceSession or fovea's OpenVinoSession."""

    def run(self, names: list[str], feed: Arrays) -> list[NDArray[Any]]:
        """The named outputs."""


@dataclass(frozen=True)
class Agreement:
    """One output at one batch size and sample variant, against the checkpoint.

    difference: largest absolute difference, over the largest magnitude if that is above 1, of the
    rows that count. rows: share of rows within the tolerance. cosine: of the whole.
    """

    network: str
    output: str
    batch: int
    variant: int
    shape: list[int]
    difference: float
    rows: float
    cosine: float


def open_onnxruntime(path: Path) -> Session:
    """The graph on ONNX Runtime's CPU provider."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def check_network(
    network: Network,
    path: Path,
    *,
    max_batch: int | None = None,
    open_session: Callable[[Path], Session] = open_onnxruntime,
) -> list[Agreement]:
    """Compare the graph with PyTorch at batch 1, 2 and the largest; raises ParityError.

    max_batch: caps the batches that are checked, to save memory or time.
    open_session: what runs the graph.
    """
    session = open_session(path)
    largest = network.spec.max_batch_size
    sizes = sorted({min(size, max_batch or largest) for size in (1, 2, largest)})
    return [
        agreement
        for batch in sizes
        for variant in range(network.variants)
        for agreement in _check_sample(network, session, batch, variant)
    ]


def _check_sample(network: Network, session: Session, batch: int, variant: int) -> list[Agreement]:
    sample = network.sample(batch, variant)
    names = [tensor.name for tensor in network.spec.outputs]
    got = dict(zip(names, session.run(names, sample), strict=True))
    return compare(network.spec, run_torch(network, sample), got, batch, variant)


def compare(
    spec: ModelSpec, expected: Arrays, got: Arrays, batch: int, variant: int
) -> list[Agreement]:
    """Compare two answers to one sample; raises ParityError if they differ beyond tolerance."""
    if spec.tolerance.rows < 1 and "logits" in expected:  # queries of a detector may swap places
        expected, got = match_rows(spec, expected, got)
    return [_compare(spec, name, expected[name], got[name], batch, variant) for name in expected]


def run_torch(network: Network, sample: Arrays) -> Arrays:
    """The checkpoint's own answer, one array per output of the spec."""
    inputs = [torch.from_numpy(sample[tensor.name]) for tensor in network.spec.inputs]
    with torch.inference_mode():
        outputs = network.module.eval()(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    names = [tensor.name for tensor in network.spec.outputs]
    return {name: out.numpy() for name, out in zip(names, outputs, strict=True)}


def match_rows(spec: ModelSpec, expected: Arrays, got: Arrays) -> tuple[Arrays, Arrays]:
    """Reorder the rows of `got`, per picture, so that each is beside its own expected row.

    One to one: as many pairs within the tolerance as possible, then the nearest ones.
    """
    matched = {name: array.copy() for name, array in got.items()}
    scales = {name: _scale(array) for name, array in expected.items()}
    for picture in range(len(next(iter(expected.values())))):
        left = _row_features(expected, picture, scales)
        right = _row_features(got, picture, scales)
        distance = np.abs(left[:, None] - right[None]).max(axis=2)
        order = np.arange(len(left))
        moved = ~(distance[order, order] <= spec.tolerance.difference)  # NaN counts as moved
        order[moved] = np.flatnonzero(moved)[
            _assign(distance[np.ix_(moved, moved)], spec.tolerance.difference)
        ]
        for name in got:
            matched[name][picture] = got[name][picture][order]
    return expected, matched


def _assign(distance: Floats, tolerance: float) -> NDArray[np.int64]:
    """Assign each row of [R, R] its own column.

    Minimises the pairs beyond the tolerance, then their sum. Values that are not finite count as
    infinitely far.
    """
    far = np.nan_to_num(distance, nan=np.finfo(np.float32).max)
    # Between 0 and 1: together they weigh less than one pair beyond the tolerance.
    near = far / (1 + far)
    cost = (far > tolerance) + near / (1 + len(far))
    _, columns = linear_sum_assignment(cost)
    return np.asarray(columns, np.int64)


def _row_features(outputs: Arrays, picture: int, scales: Mapping[str, float]) -> Floats:
    """All outputs of each row, in the units that they are compared in."""
    rows = {name: outputs[name][picture] for name in scales}
    return np.concatenate(
        [
            np.where(array == MASKED_LOGIT, 0, array).reshape(len(array), -1) / scales[name]
            for name, array in rows.items()
        ],
        axis=1,
    )


def _scale(expected: Floats) -> float:
    """The divisor of differences: the largest magnitude, or 1 if that is greater."""
    return max(1.0, float(np.abs(expected[expected != MASKED_LOGIT]).max(initial=0)))


def _compare(
    spec: ModelSpec, name: str, expected: Any, got: Any, batch: int, variant: int
) -> Agreement:
    if expected.shape != got.shape or expected.dtype != got.dtype:
        raise ParityError(
            f"{spec.name}: {name} should be {expected.dtype}{list(expected.shape)}, "
            f"got {got.dtype}{list(got.shape)}"
        )
    difference = np.abs(expected - got) / _scale(expected)
    by_row = difference.reshape(batch, expected.shape[1], -1).max(axis=2).ravel()
    share = float((by_row <= spec.tolerance.difference).mean())
    allowed = max(1, int(np.ceil(spec.tolerance.rows * len(by_row))))
    agreement = Agreement(
        network=spec.name,
        output=name,
        batch=batch,
        variant=variant,
        shape=list(expected.shape),
        difference=float(np.sort(by_row)[allowed - 1]),
        rows=share,
        cosine=_cosine(expected, got),
    )
    if not share >= spec.tolerance.rows:
        raise ParityError(
            f"{spec.name}: {name} drifts by {agreement.difference:.3g} at batch {batch} "
            f"(tolerance {spec.tolerance.difference:g} for {spec.tolerance.rows:.0%} of rows, "
            f"met by {share:.1%})"
        )
    return agreement


def _cosine(a: Floats, b: Floats) -> float:
    """Cosine of all numbers as two vectors; 1 for two of zeros."""
    x, y = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    if not (x.any() or y.any()):
        return 1.0
    return float(x @ y / max(1e-12, np.linalg.norm(x) * np.linalg.norm(y)))


def worst(agreements: list[Agreement]) -> list[dict[str, Any]]:
    """For each network and output, the agreement with the largest difference, JSON-ready."""
    found: dict[tuple[str, str], Agreement] = {}
    for agreement in agreements:
        key = (agreement.network, agreement.output)
        if key not in found or agreement.difference > found[key].difference:
            found[key] = agreement
    return [asdict(agreement) for agreement in found.values()]
