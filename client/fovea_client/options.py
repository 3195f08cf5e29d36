"""The options that the commands share, and their parsers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def _numbers(text: str, names: str) -> tuple[float, ...]:
    expected = names.split(",")
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != len(expected):
        raise typer.BadParameter(f"expected {names}, got {text!r}")
    return numbers


def one_of(options: str, *given: Any) -> Any:
    """The one given value; typer.BadParameter, which names the options, for none or several."""
    values = [value for value in given if value]
    if len(values) != 1:
        raise typer.BadParameter(f"give {options}, one of them")
    return values[0]


def at_most_one_of(options: str, *given: Any) -> Any:
    """Like `one_of`, but None for none."""
    return None if all(value in (None, []) for value in given) else one_of(options, *given)


def parse_box(text: str) -> Any:
    """A box xyxy from "x1,y1,x2,y2"; raises typer.BadParameter."""
    return _numbers(text, "x1,y1,x2,y2")


def parse_point(text: str) -> Any:
    """A point xy from "x,y"; raises typer.BadParameter."""
    return _numbers(text, "x,y")


def parse_text(text: str) -> Any:
    """The text, decoded as UTF-8 if the locale's encoding is poorer; otherwise unchanged."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeError:
        return text  # the client refuses it with a message


Pictures = Annotated[
    list[Path], typer.Argument(help="Picture files (JPEG, PNG, WebP), or folders of them.")
]
Phrases = Annotated[
    str | None,
    typer.Option(
        parser=parse_text,
        metavar="TEXT",
        help="What to look for, separated by '.': 'cat. a red car.'",
    ),
]
Candidates = Annotated[
    str | None,
    typer.Option(
        parser=parse_text,
        metavar="TEXT",
        help="Candidate words, separated by '.': 'man. snowboard'",
    ),
]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        parser=parse_text,
        metavar="TEXT",
        help="A label taken literally, 'St. Bernard'; repeatable.",
    ),
]
BoxThreshold = Annotated[float | None, typer.Option(help="Least score of a box, 0 to 1.")]
TextThreshold = Annotated[
    float | None,
    typer.Option(help="Least score of a description's word that names a box, 0 to 1."),
]
PointsPerSide = Annotated[
    int | None, typer.Option(help="Points of the grid along each edge of the picture.")
]
IouThreshold = Annotated[
    float | None, typer.Option(help="Least value of SAM's own estimate for a mask, 0 to 1.")
]
StabilityThreshold = Annotated[
    float | None, typer.Option(help="Least stability of a mask, 0 to 1.")
]
MinArea = Annotated[int | None, typer.Option(help="Least pixels of a mask.")]
MinPiece = Annotated[
    float | None,
    typer.Option(help="Drop pieces with less than this share of their mask, 0 to 1."),
]
FullSize = Annotated[
    bool | None,
    typer.Option("--full-size", help="Judge masks at the picture's size, as transformers does."),
]
MaxObjects = Annotated[int | None, typer.Option(help="Most objects of a picture.")]
Out = Annotated[
    Path | None, typer.Option(help="Where to save the drawing; a folder for several pictures.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON only, one line for each picture.")]
AddressJson = Annotated[bool, typer.Option("--json", help="Print the address as one line of JSON.")]
Url = Annotated[str, typer.Option(envvar="FOVEA_URL", help="host:port of the server's gRPC.")]
Verb = Annotated[
    str | None,
    typer.Option("--verb", metavar="NAME", help="The deployment's name for it, if not its own."),
]
Local = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Run an export folder, such as build/export/demo, here, without a server.",
    ),
]
Timeout = Annotated[
    float, typer.Option(help="Seconds for each picture, with all retries.", min=0.001)
]
