"""What a model takes and gives, as frozen data: config.pbtxt, export and checks derive from it."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fovea.errors import InvalidTensor

NUMPY_DTYPES: Mapping[str, type] = types.MappingProxyType(
    {
        "BOOL": np.bool_,
        "UINT8": np.uint8,
        "INT32": np.int32,
        "INT64": np.int64,
        "FP32": np.float32,
        "STRING": np.object_,
    }
)

# Stands for transformers' -inf in masked places: finite on the wire, and its sigmoid is 0 too.
MASKED_LOGIT = -50.0


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a model: `shape` has no batch axis, -1 is any length."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    optional: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in NUMPY_DTYPES:
            raise ValueError(f"{self.name}: dtype {self.dtype!r} is not one of {[*NUMPY_DTYPES]}")

    @property
    def numpy_dtype(self) -> type:
        return NUMPY_DTYPES[self.dtype]

    def check(self, array: NDArray[Any]) -> None:
        """Raise InvalidTensor unless `array` (without batch axis) has this dtype and shape."""
        expected: np.dtype[Any] = np.dtype(self.numpy_dtype)
        if array.dtype != expected:
            raise InvalidTensor(f"{self.name}: expected dtype {expected}, got {array.dtype}")
        fits = array.ndim == len(self.shape) and all(
            want in (-1, got) for want, got in zip(self.shape, array.shape, strict=True)
        )
        if not fits:
            raise InvalidTensor(
                f"{self.name}: expected shape {list(self.shape)}, got {list(array.shape)}"
            )


@dataclass(frozen=True)
class Queue:
    """How requests wait for a model.

    max_size: most requests waiting, more are refused at once; 0 is no limit.
    timeout_us: a request that waited longer is refused; 0 is no limit. If it is set, a request may
    ask for less.
    delay_us: how long the batcher may wait for a fuller batch.
    """

    max_size: int = 0
    timeout_us: int = 0
    delay_us: int = 0


@dataclass(frozen=True)
class Tolerance:
    """How far an exported network's answer may be from the checkpoint's.

    difference: largest absolute difference, divided by the largest magnitude if that is > 1.
    rows: share of the rows (queries of a detector, after matching) that must be within it:
    near-tied proposals may swap slots.
    """

    difference: float = 1e-4
    rows: float = 1.0


@dataclass(frozen=True)
class Span:
    """The lengths that a dynamic edge of an input takes.

    min: also the length of the warm-up. opt: what an engine is tuned for. max: the largest, or 0 if
    a field of the deployment's `Limits`, named in `limit`, sets it.
    """

    min: int
    opt: int
    max: int = 0
    limit: str = ""


@dataclass(frozen=True)
class ModelSpec:
    """A model that Triton runs itself: a network or a Python step.

    warmup: run once on zeros before the model counts as ready. spans: for inputs with dynamic
    edges, by name: a span for each edge of -1.
    """

    name: str
    backend: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int
    queue: Queue = field(default_factory=Queue)
    instances: int = 1
    instance_kind: str = "KIND_CPU"
    parameters: tuple[tuple[str, str], ...] = ()
    warmup: bool = False
    spans: tuple[tuple[str, tuple[Span, ...]], ...] = ()
    tolerance: Tolerance = field(default_factory=Tolerance)


def network_spec(
    name: str,
    *,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    max_batch_size: int,
    spans: tuple[tuple[str, tuple[Span, ...]], ...] = (),
    tolerance: Tolerance | None = None,
) -> ModelSpec:
    """A warmed-up network with the machine's defaults, until a deployment changes them."""
    return ModelSpec(
        name=name,
        backend="onnxruntime",
        inputs=inputs,
        outputs=outputs,
        max_batch_size=max_batch_size,
        instance_kind="KIND_AUTO",
        warmup=True,
        spans=spans,
        tolerance=tolerance or Tolerance(),
    )


@dataclass(frozen=True)
class EnsembleStep:
    """One step: maps from the model's own tensor names to the ensemble's."""

    model: str
    inputs: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class EnsembleSpec:
    """A verb: Triton runs each step as soon as its inputs are there.

    parameters: of its configuration, which describe the ensemble to clients.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    steps: tuple[EnsembleStep, ...]
    max_batch_size: int
    parameters: tuple[tuple[str, str], ...] = ()


def to_json(spec: Any) -> str:
    """Numbers, strings, tuples, and frozen dataclasses of those, as compact JSON."""
    return json.dumps(spec, default=dataclasses.asdict, separators=(",", ":"))


T = TypeVar("T")


def from_json(cls: type[T], text: str) -> T:
    """The inverse of `to_json`; raises TypeError for missing or unknown fields."""
    built: T = build(cls, json.loads(text))
    return built


def build(cls: Any, value: Any) -> Any:
    """The inverse of `dataclasses.asdict`; a class may define its own in `from_data`."""
    if hasattr(cls, "from_data"):
        return cls.from_data(value)
    if dataclasses.is_dataclass(cls) and isinstance(cls, type):
        kinds = typing.get_type_hints(cls)
        unknown = set(value) - set(kinds)
        if unknown:
            raise TypeError(f"{cls.__name__} has no field {sorted(unknown)}")
        return cls(**{name: build(kinds[name], item) for name, item in value.items()})
    if typing.get_origin(cls) is tuple:
        items = typing.get_args(cls)
        repeated = items[-1] is Ellipsis
        return tuple(build(items[0] if repeated else items[i], v) for i, v in enumerate(value))
    return value
