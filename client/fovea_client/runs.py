"""One run of the command: reads pictures, prints answers, saves drawings."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

import typer

from fovea_client import batches, console
from fovea_client.batches import Outcome
from fovea_client.blocking import BlockingVerbs
from fovea_client.client import Client
from fovea_client.errors import FoveaError, InvalidImage, InvalidInput, Unavailable
from fovea_client.images import Picture
from fovea_client.local_client import LocalClient

Call = Callable[[BlockingVerbs, Picture], Any]

JPEG_QUALITY = 92


@dataclass(frozen=True)
class Run:
    """The pictures, the client, and the place for the answers.

    pictures: files and folders. local: see `open_client`. out: a file for the drawing of one
    picture; for a folder or several pictures, a folder whose drawings keep names and subfolders.
    """

    pictures: Sequence[Path]
    url: str
    timeout_s: float
    local: Path | None
    _: KW_ONLY
    as_json: bool
    out: Path | None = None
    concurrency: int = batches.DEFAULT_CONCURRENCY

    def ask(self, call: Call) -> None:
        """Run `call` on every picture; raises typer.Exit with the worst exit code."""
        with console.one_line_errors():
            sources = _sources(self.pictures)
            several = len(sources) > 1 or any(path.is_dir() for path in self.pictures)
            with open_client(self.url, self.timeout_s, self.local) as client:
                if several:
                    self._ask_several(client, call, sources)
                else:
                    self._ask_one(client, call, *sources)

    def _ask_one(self, client: BlockingVerbs, call: Call, source: _Source) -> None:
        target = self.out
        if target is not None:
            target = _check_target(target / source.drawing if target.is_dir() else target)
            _check_apart([target], [source])
        result = call(client, source.path)
        if target is not None:
            save_drawing(source.path, result, target)
        if self.as_json:
            console.print_json({"source": str(source.path), **console.to_record(result)})
        else:
            console.print_table([(str(source.path), result)])

    def _ask_several(self, client: BlockingVerbs, call: Call, sources: list[_Source]) -> None:
        if self.out is not None and self.out.is_file():
            raise InvalidInput(f"expected --out to be a folder for several pictures: {self.out}")
        if self.out is not None:
            _check_apart([self.out / source.drawing for source in sources], sources)
        shown: list[tuple[str, Any]] = []
        code = 0
        with console.progress_bar(shown=not self.as_json) as progress:
            outcomes = client.map(
                lambda picture: call(client, picture),
                [source.path for source in sources],
                concurrency=self.concurrency,
                progress=progress,
            )
            for source, outcome in zip(sources, outcomes, strict=True):
                code = max(code, self._take(source, outcome, shown))
        console.print_table(shown)
        if code:
            raise typer.Exit(code)

    def _take(self, source: _Source, outcome: Outcome[Any], shown: list[tuple[str, Any]]) -> int:
        """Print or save the outcome of one picture; returns its exit code."""
        name = str(source.path)
        if outcome.error is not None:
            if self.as_json:
                console.print_json({"source": name, **console.error_record(outcome.error)})
            console.print_error(outcome.error, name)
            return console.exit_code(outcome.error)
        if self.as_json:
            console.print_json({"source": name, **console.to_record(outcome.result)})
        else:
            shown.append((str(source.name), outcome.result))
        return 0 if self.out is None else self._save(source, outcome.result, self.out)

    def _save(self, source: _Source, result: Any, folder: Path) -> int:
        """Save the drawing of one picture of several; returns its exit code."""
        try:
            save_drawing(source.path, result, folder / source.drawing)
        except (FoveaError, OSError, ValueError) as error:
            console.print_error(f"its drawing could not be saved: {error}", str(source.path))
            return console.INVALID
        return 0


@dataclass(frozen=True)
class _Source:
    """A picture, its name below the folder where it was found, and its drawing's below --out.

    Names and drawings are unique in a run: equal ones get their folder's name in front.
    """

    path: Path
    name: Path
    drawing: Path


def open_client(url: str, timeout_s: float, local: Path | None) -> BlockingVerbs:
    """A client whose server is ready: a command should not wait for a missing server.

    local: an export folder to run in this process instead of a server.
    """
    if local is not None:
        return LocalClient(local)
    client = Client(url, timeout_s=timeout_s)
    try:
        client.check_ready(timeout_s=timeout_s)
    except FoveaError as error:
        client.close()
        raise Unavailable(
            f"no server is ready at {url} (start one with `fovea serve`): {error}"
        ) from error
    return client


def save_drawing(picture: Path, result: Any, target: Path) -> None:
    """Draw the result and save it, atomically, in the format of the target's suffix."""
    from PIL import Image

    from fovea_client.draw import draw

    encoded = io.BytesIO()  # Pillow itself does not notice every failed write to a full disk
    form = Image.registered_extensions()[target.suffix.lower()]
    draw(picture, result).save(encoded, form, quality=JPEG_QUALITY)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        try:
            file.write(encoded.getbuffer())
            file.flush()
        except OSError:
            target.unlink(missing_ok=True)
            raise


def _check_apart(targets: list[Path], sources: list[_Source]) -> None:
    """InvalidInput if a drawing would overwrite one of the input pictures."""
    pictures = {os.path.realpath(source.path) for source in sources}
    for target in targets:
        if os.path.realpath(target) in pictures:
            raise InvalidInput(f"expected --out apart from the pictures, got {str(target)!r}")


def _check_target(target: Path) -> Path:
    if target.suffix.lower() not in batches.PICTURE_SUFFIXES:
        expected = ", ".join(batches.PICTURE_SUFFIXES)
        raise InvalidInput(f"expected --out to end in one of {expected}, got {str(target)!r}")
    return target


def _drawing_name(name: Path) -> Path:
    """The picture's own name, with ".png" added if it names no format."""
    known = name.suffix.lower() in batches.PICTURE_SUFFIXES
    return name if known else name.with_name(f"{name.name}.png")


def _sources(pictures: Sequence[Path]) -> list[_Source]:
    found: list[tuple[Path, Path]] = []
    for given in pictures:
        if given.is_dir():
            below = batches.pictures_in(given)
            if not below:
                expected = ", ".join(batches.PICTURE_SUFFIXES)
                raise InvalidImage(f"expected pictures ({expected}) in {str(given)!r}, got none")
            found += [(path, path.relative_to(given)) for path in below]
        else:
            found.append((given, Path(given.name)))
    paths, names = [path for path, _ in found], _unique_names(found)
    drawings = _unique_names([(path, _drawing_name(name)) for path, name in found])
    return [_Source(*one) for one in zip(paths, names, drawings, strict=True)]


def _unique_names(found: list[tuple[Path, Path]]) -> list[Path]:
    """Unique names of pictures: equal ones get their folder's in front, then a number."""
    equal = Counter(name for _, name in found)
    taken: set[Path] = set()
    apart: list[Path] = []
    for path, name in found:
        if equal[name] > 1:
            top = path.resolve().parents[len(name.parts) - 1]
            name = Path(top.name) / name
        numbered = (name.with_name(f"{name.stem}-{i}{name.suffix}") for i in count(2))
        free = next(one for one in chain([name], numbered) if one not in taken)
        taken.add(free)
        apart.append(free)
    return apart
