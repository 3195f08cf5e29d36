"""How a network wants its picture: which size, which filter, and on what canvas.

A geometry is an image processor's settings as data. Members that want the same share one tensor:
the first step makes each distinct geometry once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from fovea import images
from fovea.images import Picture
from fovea.padded_square import resize_padded_square
from fovea.specs import TensorSpec

Rule = Literal["shortest_edge", "longest_edge", "aspect", "squash", "padded_square", "letterbox"]

# The number of edges of each rule: see `Geometry`.
_EDGES = {
    "shortest_edge": 1,
    "longest_edge": 1,
    "aspect": 2,
    "squash": 2,
    "padded_square": 1,
    "letterbox": 2,
}
# The grey around a letterboxed picture, in each channel.
LETTERBOX_GREY = 114


@dataclass(frozen=True)
class Geometry:
    """One way to make pixels from a picture.

    Attributes:
        rule: how the size follows from the picture's. shortest_edge, longest_edge: that edge as
            given, the other in proportion. aspect: the shortest edge as given unless the longest
            would be too long. squash: height and width as given, whatever the proportions.
            padded_square: first padded to a square, then resized (`fovea.padded_square`); all of it
            is valid. letterbox: as large as fits into the edges, in the middle of a grey canvas,
        all of it valid; resized as by OpenCV's INTER_LINEAR.
        edges: the rule's, in pixels: one; for aspect (shortest, longest); for squash and letterbox
            (h, w).
        output_hw: height and width of what comes out: the middle of the resized picture if it is
            cropped, otherwise a canvas with the picture at its top left and zeros beyond.
        crop: whether the middle is cut out.
        crop_to_even: round an odd margin's half to the even pixel, as torchvision does, instead of
            down, as transformers does.
        resample: Pillow's code of the filter.
    """

    rule: Rule
    edges: tuple[int, ...]
    output_hw: tuple[int, int]
    resample: int
    crop: bool = False
    crop_to_even: bool = False

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise ValueError(f"expected a rule of {', '.join(get_args(Rule))}, got {self.rule!r}")
        if len(self.edges) != _EDGES[self.rule]:
            raise ValueError(f"{self.rule}: expected {_EDGES[self.rule]} edges, got {self.edges}")
        if self.crop and len(set(self.output_hw)) > 1:
            raise ValueError(f"expected a square crop, got {self.output_hw}")

    @property
    def name(self) -> str:
        """A part of tensor names, such as shortest_edge_224_to_224x224_bicubic."""
        edges = "_".join(map(str, self.edges))
        how = ("crop_to_even" if self.crop_to_even else "crop") if self.crop else "to"
        filter_ = images.Resampling(self.resample).name.lower()
        return f"{self.rule}_{edges}_{how}_{self.output_hw[0]}x{self.output_hw[1]}_{filter_}"

    @property
    def pixels(self) -> TensorSpec:
        """uint8 [3, H, W], under the first step's name."""
        return TensorSpec(f"pixels_{self.name}", "UINT8", (3, *self.output_hw))

    @property
    def valid_hw(self) -> TensorSpec:
        """int32 [2]: height and width of the picture within the canvas."""
        return TensorSpec(f"valid_hw_{self.name}", "INT32", (2,))

    def resized_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """The size (h, w) that a picture of `size_hw` is resized to."""
        if self.rule == "squash":
            return self.edges[0], self.edges[1]
        if self.rule == "letterbox":
            scale = self.letterbox_scale(size_hw)
            height, width = (max(1, round(edge * scale)) for edge in size_hw)
            return height, width
        if self.rule == "aspect":
            return images.aspect_size(size_hw, self.edges[0], self.edges[1])
        if self.rule == "shortest_edge":
            return images.shortest_edge_size(size_hw, self.edges[0])
        return images.longest_edge_size(size_hw, self.edges[0])

    def letterbox_scale(self, size_hw: tuple[int, int]) -> float:
        """The factor by which a letterbox resizes the picture."""
        return min(self.edges[0] / size_hw[0], self.edges[1] / size_hw[1])

    def letterbox_offset(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """The picture's top left corner in a letterbox: (top, left) in its pixels."""
        height, width = self.resized_hw(size_hw)
        return (self.output_hw[0] - height) // 2, (self.output_hw[1] - width) // 2

    def apply(self, picture: Picture) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """Pixels uint8 [3, H, W], and valid_hw int32 [2]: the part of them that is the picture."""
        if self.rule == "padded_square":
            resized = resize_padded_square(picture.pixels, self.edges[0])
            pixels = np.ascontiguousarray(resized.transpose(2, 0, 1))
            return pixels, np.array(self.output_hw, np.int32)
        if self.rule == "letterbox":
            return self._letterbox(picture), np.array(self.output_hw, np.int32)
        size_hw, filter_ = self.resized_hw(picture.hw), images.Resampling(self.resample)
        if self.crop:
            edge, to_even = self.output_hw[0], self.crop_to_even
            crop = picture.resized_crop(size_hw, edge, filter_, to_even=to_even)
            return images.to_chw(crop), np.array(self.output_hw, np.int32)
        placed = picture.resize(size_hw, filter_)
        pixels = images.pad_to_canvas(placed, self.output_hw)
        return pixels, np.array((placed.height, placed.width), np.int32)

    def _letterbox(self, picture: Picture) -> NDArray[np.uint8]:
        height, width = self.resized_hw(picture.hw)
        top, left = self.letterbox_offset(picture.hw)
        resized = cv2.resize(picture.pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        pixels = np.full((3, *self.output_hw), LETTERBOX_GREY, np.uint8)
        pixels[:, top : top + height, left : left + width] = resized.transpose(2, 0, 1)
        return pixels
