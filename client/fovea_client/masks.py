"""A mask as COCO run-length encoding, decoded only on demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fovea.masks import decode_rle, rle_area, rle_box


@dataclass(frozen=True)
class Mask:
    """The pixels of a picture that belong to a thing.

    counts: COCO's compressed run lengths. size_hw: (height, width) of the picture.
    """

    counts: bytes
    size_hw: tuple[int, int]

    @property
    def area(self) -> int:
        """Number of pixels, from the runs alone."""
        return rle_area(self.counts)

    def to_numpy(self) -> NDArray[np.bool_]:
        """bool [H, W], decoded at each call."""
        return decode_rle(self.counts, self.size_hw)

    def to_coco(self) -> dict[str, Any]:
        """`{"size": [h, w], "counts": str}`, the form of pycocotools and COCO's JSON."""
        return {"size": list(self.size_hw), "counts": self.counts.decode("ascii")}

    def box(self) -> NDArray[np.float32]:
        """The smallest box around the mask, xyxy [4], ends exclusive; zeros for an empty one."""
        return np.array(rle_box(self.counts, self.size_hw), np.float32)
