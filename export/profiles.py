"""Which shapes each network must take: the optimization profiles of engines, from the specs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fovea import grounding_dino, sam
from fovea.pipeline import PipelineSpec
from fovea.specs import ModelSpec

Shape = tuple[int, ...]

# Requests that the batcher typically joins, and the boxes of a typical answer.
OPTIMAL_BATCH = 4
OPTIMAL_PROMPTS = 1
# A box, or a point with its padding point.
BOX_POINTS = 2


class Span(NamedTuple):
    """The lengths that an axis takes; the engine is tuned for `opt`."""

    min: int
    opt: int
    max: int


class Shapes(NamedTuple):
    """Of one tensor, batch axis first."""

    min: Shape
    opt: Shape
    max: Shape


@dataclass(frozen=True)
class Profile:
    """Of one network: shapes by name of the input."""

    shapes: tuple[tuple[str, Shapes], ...]


def profile(spec: ModelSpec, pipeline: PipelineSpec) -> Profile:
    """Every batch up to the spec's, every text bucket, every prompt that the limits allow."""
    batch = Span(1, min(OPTIMAL_BATCH, spec.max_batch_size), spec.max_batch_size)
    spans = _dynamic_edges(pipeline)

    def shapes(name: str, edges: Shape) -> Shapes:
        dynamic = iter(spans.get((spec.name, name), ()))
        axes = [batch, *(Span(e, e, e) if e != -1 else next(dynamic) for e in edges)]
        return Shapes(*(tuple(axis[kind] for axis in axes) for kind in range(3)))

    return Profile(
        tuple((tensor.name, shapes(tensor.name, tensor.shape)) for tensor in spec.inputs)
    )


def _dynamic_edges(pipeline: PipelineSpec) -> dict[tuple[str, str], tuple[Span, ...]]:
    """By network and input: its edges that have any length, in order."""
    buckets = pipeline.grounding_dino.text_buckets
    text = Span(buckets[0], buckets[min(1, len(buckets) - 1)], buckets[-1])
    # Prompts are padded to a power of two, points by one (fovea.prompts).
    most = 1 << (pipeline.limits.prompts - 1).bit_length()
    prompts = Span(1, OPTIMAL_PROMPTS, most)
    points = Span(BOX_POINTS, BOX_POINTS, pipeline.limits.points + 1)
    dino, decoder = grounding_dino.NETWORK, sam.MASK_DECODER
    return {
        (dino, "input_ids"): (text,),
        (dino, "attention_mask"): (text,),
        (dino, "position_ids"): (text,),
        (dino, "text_self_attention_masks"): (text, text),
        (decoder, "point_coords"): (prompts, points),
        (decoder, "point_labels"): (prompts, points),
    }
