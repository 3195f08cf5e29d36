"""The shapes that a network must take, from its spec: the optimization profiles of engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fovea.limits import Limits
from fovea.specs import ModelSpec, Span

Shape = tuple[int, ...]

# The batch that the batcher typically builds.
OPTIMAL_BATCH = 4


class Shapes(NamedTuple):
    """Shapes of one tensor, batch axis first."""

    min: Shape
    opt: Shape
    max: Shape


@dataclass(frozen=True)
class Profile:
    """Profile of one network: shapes by name of the input."""

    shapes: tuple[tuple[str, Shapes], ...]


def profile(spec: ModelSpec, limits: Limits) -> Profile:
    """Every batch up to the spec's, and every length of its dynamic edges that limits allow."""
    batch = Span(1, min(OPTIMAL_BATCH, spec.max_batch_size), spec.max_batch_size)
    spans = dict(spec.spans)

    def shapes(name: str, edges: Shape) -> Shapes:
        dynamic = iter(spans.get(name, ()))
        axes = [batch, *(Span(e, e, e) if e != -1 else next(dynamic) for e in edges)]
        return Shapes(
            tuple(axis.min for axis in axes),
            tuple(axis.opt for axis in axes),
            tuple(_longest(axis, limits) for axis in axes),
        )

    return Profile(
        tuple((tensor.name, shapes(tensor.name, tensor.shape)) for tensor in spec.inputs)
    )


def _longest(span: Span, limits: Limits) -> int:
    """Prompts are padded to a power of two, points by one (`fovea.prompts`)."""
    if span.limit == "prompts":
        return 1 << (limits.prompts - 1).bit_length()
    if span.limit == "points":
        return limits.points + 1
    return span.max
