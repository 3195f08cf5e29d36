"""The canvas of detectors whose processors keep the proportions of a picture.

Padding changes what these networks answer, even if a mask marks it. So every picture comes on
the same canvas, alone or among others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from export.errors import InvalidOption, UnsupportedProcessor
from export.processor import edges, require

# The member's option that caps both edges.
LONGEST_EDGE = "longest_edge"


@dataclass(frozen=True)
class Canvas:
    """shortest, longest: edges in pixels that pictures are resized to. hw: height and width."""

    shortest: int
    longest: int
    hw: tuple[int, int]


def read_canvas(processor: Any, longest_edge: int | None = None) -> Canvas:
    """The processor's own `pad_size`, or else the longest edge both ways.

    `longest_edge` caps both edges: a smaller, square, cheaper canvas. Raises UnsupportedProcessor
    and InvalidOption.
    """
    if longest_edge is not None and longest_edge < 1:
        raise InvalidOption(f"{LONGEST_EDGE}: expected a pixel or more, got {longest_edge}")
    require(processor, do_resize=True, do_pad=True)
    shortest, longest = edges(processor, "size", "shortest_edge", "longest_edge")
    longest = min(longest, longest_edge or longest)
    canvas_hw = (longest, longest)
    if processor.pad_size and not longest_edge:
        canvas_hw = edges(processor, "pad_size", "height", "width")
        if min(canvas_hw) < longest:
            raise UnsupportedProcessor(
                f"{type(processor).__name__}: expected pad_size of at least "
                f"{longest} x {longest} for size longest_edge={longest}, "
                f"got {canvas_hw[0]} x {canvas_hw[1]}"
            )
    return Canvas(min(shortest, longest), longest, canvas_hw)


def arguments(processor: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The processor's arguments that make it resize as the option says."""
    edge = options.get(LONGEST_EDGE)
    if not edge:
        return {}
    longest = min(edge, processor.size.longest_edge)
    shortest = min(longest, processor.size.shortest_edge)
    size = {"size": {"shortest_edge": shortest, "longest_edge": longest}}
    pad = {"pad_size": {"height": longest, "width": longest}} if processor.pad_size else {}
    return size | pad
