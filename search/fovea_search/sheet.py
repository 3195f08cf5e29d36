"""Contact sheets: a search's results with their masks drawn, as a PNG or as one HTML file."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fovea_client import FoveaError, InvalidInput, SegmentedDetections
from fovea_client import draw as drawing
from fovea_client.images import load
from PIL import Image, ImageDraw, ImageFont

from fovea_search import sources
from fovea_search.finds import Find, Finds

CELL, CAPTION, GAP = 232, 38, 8
COLUMNS = 5
TITLE = 34
PAPER, INK, FAINT = (250, 250, 248), (24, 24, 24), (120, 120, 116)
# How much of the picture around an object is shown, in lengths of its longer side.
SURROUNDINGS = 0.6
JPEG_QUALITY = 88
SUFFIXES = (".png", ".html")

_STYLE = """body{font:14px system-ui,sans-serif;background:#fafaf8;color:#181818;margin:24px}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(232px,1fr));gap:16px}
figure{margin:0}img{width:100%;border-radius:4px}figcaption{overflow-wrap:anywhere}
small{color:#787874}"""


def save(finds: Finds, target: Path) -> None:
    """Write a sheet in the format of the target's suffix; raises InvalidInput for another one."""
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidInput(f"expected --out to end in {' or '.join(SUFFIXES)}, got {str(target)!r}")
    cells = [cell(find) for find in finds]
    target.parent.mkdir(parents=True, exist_ok=True)
    if suffix == ".html":
        target.write_text(_html(finds, cells), encoding="utf-8")
    else:
        _sheet(finds, cells).save(target)


def draw(finds: Finds) -> Image.Image:
    """A sheet of the results."""
    return _sheet(finds, [cell(find) for find in finds])


def cell(find: Find) -> Image.Image:
    """A square picture of one result: the object in its surroundings, or the whole picture.

    A grey one for a picture that no longer exists.
    """
    try:
        data = sources.read(find.path)
        image = load(data) if find.mask is None else drawing.draw(data, _drawable(find))
    except (OSError, FoveaError, ImportError):
        return Image.new("RGB", (CELL, CELL), (224, 224, 220))
    if find.box is not None:
        image = image.crop(_window(find.box.tolist(), image.size))
    image.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (CELL, CELL), (236, 236, 232))
    square.paste(image, ((CELL - image.width) // 2, (CELL - image.height) // 2))
    return square


def _drawable(find: Find) -> SegmentedDetections:
    """The single object, without a tag."""
    assert find.box is not None and find.mask is not None
    scores = np.array([find.score], np.float32)
    return SegmentedDetections(find.box[None], scores, ("",), find.size_hw, (find.mask,), scores)


def _window(box_xyxy: Sequence[float], size_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """A square around a box, limited to the picture."""
    left, top, right, bottom = box_xyxy
    half = max(right - left, bottom - top) * (0.5 + SURROUNDINGS)
    x, y = (left + right) / 2, (top + bottom) / 2
    width, height = size_wh
    return (
        max(0, math.floor(x - half)),
        max(0, math.floor(y - half)),
        min(width, math.ceil(x + half)),
        min(height, math.ceil(y + half)),
    )


def _sheet(finds: Finds, cells: Sequence[Image.Image]) -> Image.Image:
    columns = max(1, min(COLUMNS, len(cells)))
    rows = math.ceil(len(cells) / columns)
    step_x, step_y = CELL + GAP, CELL + CAPTION + GAP
    width = max(columns * step_x + GAP, 2 * step_x)
    sheet = Image.new("RGB", (width, TITLE + rows * step_y + GAP), PAPER)
    painter = ImageDraw.Draw(sheet)
    title = f"{finds.query}: {len(finds)} found"
    painter.text((GAP, GAP), title, font=ImageFont.load_default(18), fill=INK)
    for index, (find, image) in enumerate(zip(finds, cells, strict=True)):
        x, y = GAP + index % columns * step_x, TITLE + index // columns * step_y
        sheet.paste(image, (x, y))
        first, second = _caption(find, index)
        painter.text((x, y + CELL + 2), first, font=ImageFont.load_default(13), fill=INK)
        font = ImageFont.load_default(11)
        painter.text((x, y + CELL + 20), _shortened(second, font), font=font, fill=FAINT)
    return sheet


def _caption(find: Find, index: int) -> tuple[str, str]:
    return f"{index + 1}.  {find.score:.3f}", f"{find.folder}/{Path(find.path).name}"


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The end of a text that fits a cell: the end of a path says most."""
    if font.getlength(text) <= CELL:
        return text
    while text and font.getlength(f"…{text}") > CELL:
        text = text[1:]
    return f"…{text}"


def _html(finds: Finds, cells: Sequence[Image.Image]) -> str:
    figures = "\n".join(
        _figure(find, image, i) for i, (find, image) in enumerate(zip(finds, cells, strict=True))
    )
    title = html.escape(finds.query)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<style>{_STYLE}</style><h1>{title}</h1><main>\n{figures}\n</main></html>\n"
    )


def _figure(find: Find, image: Image.Image, index: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    first, _ = _caption(find, index)
    said = {"id": find.id, "taken": find.taken, "area": find.area, **find.columns}
    known = " · ".join(f"{k} {_short(v)}" for k, v in said.items() if v is not None)
    return (
        f'<figure><img alt="" src="data:image/jpeg;base64,{data}"><figcaption><b>{first}</b> '
        f"{html.escape(find.path)}<br><small>{html.escape(known)}</small></figcaption></figure>"
    )


def _short(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
