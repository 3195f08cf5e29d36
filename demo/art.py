"""Sprites of the things, drawn from open emoji art, and how scenes read them.

`python -m demo.art --noto FONT --fluent FOLDER --twemoji FOLDER` extracts them once:
Noto from its colour font, Fluent 3D and Twemoji from folders of pictures named by code
point. Its output is committed under `demo/art/<style>/`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from PIL import Image, ImageDraw, ImageFont

from demo.things import LABELS, THINGS

ART_FOLDER = Path(__file__).parent / "art"
TRAINED_STYLES: tuple[str, ...] = ("noto", "fluent")
UNSEEN_STYLE = "twemoji"
NOTO_SIZE = 109
NOTO_CANVAS_WH = (136, 128)
SPRITE_EDGE = 160
MIP_RATIO = 2**0.5
SMALLEST_MIP = 12


def trimmed(sprite: Image.Image, longest: int = SPRITE_EDGE) -> Image.Image:
    """Cut an RGBA picture to its visible pixels; shrink it to `longest` if larger."""
    sprite = sprite.convert("RGBA")
    sprite = sprite.crop(sprite.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox())
    scale = longest / max(sprite.size)
    if scale >= 1:
        return sprite
    size = (max(1, round(sprite.width * scale)), max(1, round(sprite.height * scale)))
    return sprite.resize(size, Image.Resampling.LANCZOS)


def noto_sprite(font: ImageFont.FreeTypeFont, codepoint: str) -> Image.Image:
    """Draw one emoji of Noto's colour font, RGBA."""
    canvas = Image.new("RGBA", NOTO_CANVAS_WH)
    text = "".join(chr(int(part, 16)) for part in codepoint.split("-"))
    ImageDraw.Draw(canvas).text((0, 0), text, font=font, embedded_color=True)
    return canvas


def picture_sprite(folder: Path, codepoint: str) -> Image.Image:
    """Read one emoji from a folder of pictures named by code point."""
    for stem in (codepoint, f"{codepoint}-fe0f"):
        for suffix in (".webp", ".png"):
            if (path := folder / f"{stem}{suffix}").exists():
                return Image.open(path)
    raise FileNotFoundError(f"no picture of {codepoint} in {folder}")


def extract(noto: Path, folders: dict[str, Path]) -> None:
    """Write every thing's sprite in every style under `demo/art`."""
    font = ImageFont.truetype(str(noto), NOTO_SIZE)
    for thing in THINGS:
        sprites = {"noto": noto_sprite(font, thing.codepoint)}
        sprites |= {style: picture_sprite(f, thing.codepoint) for style, f in folders.items()}
        for style, sprite in sprites.items():
            path = ART_FOLDER / style / f"{thing.label}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            trimmed(sprite).save(path, optimize=True)


@cache
def mips(style: str, label: str) -> tuple[np.ndarray, ...]:
    """A sprite at falling sizes, largest first.

    Returns:
        uint8 arrays (h, w, 4), RGB premultiplied by alpha, each about 1/sqrt(2) of the last,
        so that a linear warp from the next larger one does not alias.
    """
    path = ART_FOLDER / style / f"{label}.png"
    rgba = np.asarray(Image.open(path).convert("RGBA"), np.float32)
    rgba[..., :3] *= rgba[..., 3:] / 255
    levels, scale = [], 1.0
    while max(rgba.shape[:2]) * scale >= SMALLEST_MIP:
        size = (max(2, round(rgba.shape[1] * scale)), max(2, round(rgba.shape[0] * scale)))
        levels.append(cv2.resize(rgba, size, interpolation=cv2.INTER_AREA).round().astype(np.uint8))
        scale /= MIP_RATIO
    return tuple(levels)


@cache
def fill(style: str, label: str) -> float:
    """Root of the opaque area, relative to the longer side of the sprite."""
    alpha = mips(style, label)[0][..., 3]
    return float(np.sqrt((alpha > 127).sum()) / max(alpha.shape))


def main(
    noto: Annotated[Path, typer.Option(help="NotoColorEmoji.ttf.")],
    fluent: Annotated[Path, typer.Option(help="Folder of Fluent 3D's webp files.")],
    twemoji: Annotated[Path, typer.Option(help="Folder of Twemoji's png files.")],
) -> None:
    """Extract the sprites of every thing from a font and two folders."""
    extract(noto, {"fluent": fluent, UNSEEN_STYLE: twemoji})
    print(f"{len(LABELS)} things in {ART_FOLDER}")


if __name__ == "__main__":
    typer.run(main)
