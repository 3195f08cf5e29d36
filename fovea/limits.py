"""What the server accepts at most, so that one request cannot hurt the others."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Upper bounds that the Python steps check before they work.

    image_bytes: length of the encoded picture.
    image_pixels: height times width, read from the header before anything is decoded.
    text_chars: length of TEXT in characters.
    phrases: phrases in one TEXT.
    prompts: boxes or point sets for one picture.
    points: points in one prompt.
    """

    image_bytes: int = 32 * 1024 * 1024
    image_pixels: int = 64_000_000
    text_chars: int = 2000
    phrases: int = 64
    prompts: int = 128
    points: int = 16
