"""Limits on what the server accepts, so that one request cannot hurt the others."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Upper bounds that the Python steps check before they work.

    image_bytes: length of the encoded picture, or of a sound's file.
    image_pixels: height times width, read from the header before anything is decoded.
    text_chars: characters of one label, description or text.
    labels, labels_bytes: labels of one request, and their bytes in total; LVIS has 1,203.
    prompts: boxes or point sets for one picture.
    points: points in one prompt.
    points_per_side: of the grid of points that finds every object.
    objects: of one picture, with their masks.
    mask_pixels: prompts times the picture's pixels: what one request may draw.
    """

    image_bytes: int = 32 * 1024 * 1024
    image_pixels: int = 64_000_000
    text_chars: int = 2000
    labels: int = 2048
    labels_bytes: int = 65_536
    prompts: int = 128
    points: int = 16
    points_per_side: int = 64
    objects: int = 256
    mask_pixels: int = 512_000_000

    def masks_of(self, size_hw: tuple[int, int]) -> int:
        """How many masks one request may have for a picture of this size, at least 1."""
        return self._drawn(self.prompts, size_hw)

    def objects_of(self, size_hw: tuple[int, int]) -> int:
        """How many objects one request may find in a picture of this size, at least 1."""
        return self._drawn(self.objects, size_hw)

    def _drawn(self, most: int, size_hw: tuple[int, int]) -> int:
        """At most `most` masks, fewer for a large picture."""
        height, width = size_hw
        return max(1, min(most, self.mask_pixels // (height * width)))
