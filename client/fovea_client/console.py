"""What the command prints, and its exit codes.

| code | meaning |
| --- | --- |
| 0 | done |
| 2 | wrong usage, or an input that the server refuses |
| 3 | the server is unavailable or overloaded, or too slow for the deadline |
| 4 | the server failed |
| 130 | interrupted by Ctrl-C |

Results go to stdout; errors, one line each, and progress to stderr.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from fovea_client import batches
from fovea_client.classification import Classification
from fovea_client.errors import FoveaError, InvalidInput, ServerError
from fovea_client.masks import Mask
from fovea_client.objects import Objects
from fovea_client.results import Detections, MainObject, Segmentation, SegmentedDetections
from fovea_client.scenes import SceneSegmentation

INVALID, UNAVAILABLE, FAILED, INTERRUPTED = 2, 3, 4, 130
EMBEDDING_SHOWN = 6

Columns = tuple[str, ...]

# One console for each stream: rich keeps a progress bar apart from lines printed through its own.
_STDOUT, _STDERR = Console(), Console(stderr=True)


def accept_any_name() -> None:
    """Make both streams escape what their encoding lacks, so that no traceback ends the command.

    File names need not be UTF-8, and terminals need not know every character.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """The text on one line, with line breaks, control characters and the like escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def exit_code(error: FoveaError) -> int:
    """The exit code that tells a script what to do about `error`."""
    if isinstance(error, InvalidInput):
        return INVALID
    return FAILED if isinstance(error, ServerError) else UNAVAILABLE


def print_error(message: object, source: str | None = None) -> None:
    """Print one line on stderr."""
    line = printable(" ".join(str(message).split()))
    source = None if source is None else printable(source)
    prefix = "error" if source is None or source in line else f"error: {source}"
    _plain(_STDERR, f"{prefix}: {line}")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the command with a line on stderr and the error's exit code, without a traceback."""
    try:
        yield
    except FoveaError as error:
        print_error(error)
        raise typer.Exit(exit_code(error)) from error
    except (OSError, ImportError) as error:
        print_error(error)
        raise typer.Exit(INVALID) from error
    except KeyboardInterrupt as error:
        print_error("interrupted")
        raise typer.Exit(INTERRUPTED) from error


class _RateColumn(ProgressColumn):
    """Pictures a second, over about the last half minute."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s")


@contextmanager
def progress_bar(*, shown: bool) -> Iterator[batches.Progress]:
    """A bar on stderr that a batch can report to; it leaves nothing behind."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_STDERR, transient=True, disable=not shown) as bar:
        task = bar.add_task("pictures", total=None)

        def report(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total)

        yield report


def print_json(record: dict[str, Any]) -> None:
    """Print one JSON object on one line of stdout, in UTF-8 whatever the terminal's encoding is.

    Parts of a file name that are not UTF-8 are lone surrogates, as in `os.fsdecode`, and escaped.
    """
    line = json.dumps(record, ensure_ascii=False)
    typer.echo(line.encode("utf-8", "backslashreplace"))


def to_record(result: Any) -> dict[str, Any]:
    """A result as the JSON that `--json` prints."""
    if isinstance(result, np.ndarray):
        return {"embedding": result.tolist()}
    record: dict[str, Any] = result.to_dict()
    return record


def error_record(error: FoveaError) -> dict[str, Any]:
    return {"error": {"type": type(error).__name__, "message": str(error)}}


def print_table(results: Sequence[tuple[str, Any]]) -> None:
    """Print one table for the results of one verb, each with the name of its picture.

    For several pictures' main objects and classes, it shows only the best labels.
    """
    if not results:
        return
    columns = _columns(results[0][1])
    several = len(results) > 1
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("picture", *columns) if several else columns:
        table.add_column(column, no_wrap=column != "picture", overflow="fold")
    for name, result in results:
        rows = _rows(result) or [("–",) * len(columns)]
        if several and isinstance(result, (MainObject, Classification)):
            rows = rows[:1]
        for row in rows:
            cells = (name, *row) if several else row
            table.add_row(*(Text(printable(cell)) for cell in cells))
    _STDOUT.print(table)


def print_tables(tables: Sequence[Table]) -> None:
    """Print tables, one below the other."""
    for table in tables:
        _STDOUT.print(table)


def _columns(result: Any) -> Columns:
    if isinstance(result, MainObject):
        return ("label", "probability", "box xyxy", "score", "mask px", "mask score")
    if isinstance(result, SegmentedDetections):
        return ("phrase", "score", "box xyxy", "mask px", "mask score")
    if isinstance(result, Detections):
        return ("phrase", "score", "box xyxy")
    if isinstance(result, Segmentation):
        return ("prompt", "mask px", "mask box xyxy", "mask score")
    if isinstance(result, Classification):
        return ("label", "score")
    if isinstance(result, SceneSegmentation):
        return ("label", "score", "mask px", "mask box xyxy")
    if isinstance(result, Objects):
        return ("object", "mask px", "mask box xyxy", "mask score", "stability")
    return ("dimensions", "first values")


def _rows(result: Any) -> list[Columns]:
    if isinstance(result, MainObject):
        return _main_object_rows(result)
    if isinstance(result, Detections):
        return _detection_rows(result)
    if isinstance(result, Segmentation):
        pairs = zip(result.masks, result.scores.tolist(), strict=True)
        return [
            (str(index), _pixels(mask), _box(mask.box()), _score(score))
            for index, (mask, score) in enumerate(pairs, start=1)
        ]
    if isinstance(result, Classification):
        scored = zip(result.labels, result.scores.tolist(), strict=True)
        return [(label, _score(score)) for label, score in scored]
    if isinstance(result, SceneSegmentation):
        found = zip(result.labels, result.scores.tolist(), result.masks, strict=True)
        return [(label, _score(s), _pixels(mask), _box(mask.box())) for label, s, mask in found]
    if isinstance(result, Objects):
        return _object_rows(result)
    values = " ".join(f"{value:+.4f}" for value in result[:EMBEDDING_SHOWN].tolist())
    return [(str(len(result)), f"{values} …")]


def _main_object_rows(result: MainObject) -> list[Columns]:
    """The chosen label with its box and mask, then the others with their probabilities."""
    missing = "" if result.found else "not found"
    chosen = (
        result.label or "–",
        _score(result.label_score),
        _box(result.box) or missing,
        _score(result.box_score),
        _pixels(result.mask),
        _score(result.mask_score),
    )
    others = [
        (label, _score(score), "", "", "", "")
        for label, score in result.label_scores.items()
        if label != result.label
    ]
    return [chosen, *others]


def _detection_rows(result: Detections) -> list[Columns]:
    found = zip(result.phrases, result.scores.tolist(), result.boxes, strict=True)
    rows = [(phrase, _score(score), _box(box)) for phrase, score, box in found]
    if not isinstance(result, SegmentedDetections):
        return list(rows)
    masks = zip(rows, result.masks, result.mask_scores.tolist(), strict=True)
    return [(*row, _pixels(mask), _score(score)) for row, mask, score in masks]


def _object_rows(result: Objects) -> list[Columns]:
    scores = zip(result.scores.tolist(), result.stability.tolist(), strict=True)
    found = zip(result.masks, result.boxes, scores, strict=True)
    return [
        (str(index), _pixels(mask), _box(box), *map(_score, pair))
        for index, (mask, box, pair) in enumerate(found, start=1)
    ]


def _box(box_xyxy: NDArray[np.float32] | None) -> str:
    return "" if box_xyxy is None else " ".join(f"{edge:.0f}" for edge in box_xyxy.tolist())


def _score(score: float | None) -> str:
    return "" if score is None else f"{score:.3f}"


def _pixels(mask: Mask | None) -> str:
    return "" if mask is None else str(mask.area)


def _plain(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True, emoji=False)
