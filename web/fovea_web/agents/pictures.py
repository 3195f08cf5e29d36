"""The pictures that a language model may use: files of chosen folders, and those that it sends."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from fovea_client import ImageTooLarge, InvalidImage
from fovea_client.batches import PICTURE_SUFFIXES

from fovea.errors import cut
from fovea.limits import Limits

LISTED = 200
# "data:image/jpeg;base64," before the data of a data URI.
_DATA_URI = re.compile(r"data:[\w.+-]*/?[\w.+-]*(;[\w=.+-]+)*,", re.ASCII)
_SHOWN_CHARS = 120


class Folders:
    """Folders whose pictures may be read; nothing outside them ever is.

    A symbolic link is followed as long as it stays within. A path outside always gets the same
    refusal, so nobody learns what else is on the machine.
    """

    def __init__(self, folders: Sequence[Path], limits: Limits | None = None) -> None:
        self.roots = tuple(Path(os.path.realpath(folder, strict=True)) for folder in folders)
        for root in self.roots:
            if not root.is_dir():
                raise NotADirectoryError(f"expected a folder of pictures, got {str(root)!r}")
        self._limits = limits or Limits()

    def read(self, path: str) -> bytes:
        """The bytes of a picture file; a relative path is below the first folder that has it.

        Raises InvalidImage unless the path leads to a file in one of the folders, and
        ImageTooLarge.
        """
        root, inside = self._find(path)
        try:
            descriptor = _open_below(root, inside)
        except OSError as error:
            raise self._refusal(path) from error
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(self._limits.image_bytes + 1)
        return _checked(data, self._limits)

    def pictures(self, below: str = "") -> list[str]:
        """Paths of picture files for `read`, without hidden ones.

        Raises InvalidImage unless `below` is a folder within.
        """
        starts = [self._find(below)] if below else [(root, Path()) for root in self.roots]
        several = len(self.roots) > 1
        return [
            str(path if several else path.relative_to(root))
            for root, inside in starts
            for path in _pictures_below(root / inside)
            if path.is_file()
            and any(Path(os.path.realpath(path)).is_relative_to(one) for one in self.roots)
        ]

    def _find(self, path: str) -> tuple[Path, Path]:
        """The folder that a path leads into, and the rest of the path without any link."""
        for start in self.roots:
            try:
                real = Path(os.path.realpath(start / path, strict=True))
            except (OSError, ValueError):  # nothing there, or a NUL
                continue
            for root in self.roots:
                if real.is_relative_to(root):
                    return root, real.relative_to(root)
        raise self._refusal(path)

    def _refusal(self, path: str) -> InvalidImage:
        where = " or ".join(repr(str(root)) for root in self.roots)
        return InvalidImage(f"expected a picture file below {where}, got {path[:_SHOWN_CHARS]!r}")


def decode(text: str, limits: Limits | None = None) -> bytes:
    """The bytes of a picture in base64, with or without "data:image/png;base64," in front.

    Raises InvalidImage for invalid base64, and ImageTooLarge.
    """
    limits = limits or Limits()
    prefix = _DATA_URI.match(text)
    if prefix is not None and not prefix[0].endswith(";base64,"):
        raise InvalidImage(f"expected a data URI in base64, got {prefix[0][:_SHOWN_CHARS]!r}")
    encoded = "".join(text[prefix.end() if prefix else 0 :].split())
    if len(encoded) * 3 // 4 > limits.image_bytes + 3:
        raise _too_large(len(encoded) * 3 // 4, limits)
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidImage(cut(f"expected a picture in base64: {error}")) from error
    return _checked(data, limits)


def _pictures_below(folder: Path) -> Iterator[Path]:
    for here, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(PICTURE_SUFFIXES):
                yield Path(here, name)


def _open_below(root: Path, inside: Path) -> int:
    """A descriptor of a file, opened step by step without following any link.

    So a link that replaces a checked folder or file in the meantime is refused, not followed.
    """
    held = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in inside.parts[:-1]:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=held)
            os.close(held)
            held = below
        # A pipe that nobody writes to must not block.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        opened = os.open(inside.name or ".", flags, dir_fd=held)
    finally:
        os.close(held)
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(f"not a file: {inside}")
    return opened


def _checked(data: bytes, limits: Limits) -> bytes:
    if not data:
        raise InvalidImage("expected an encoded picture, got 0 bytes")
    if len(data) > limits.image_bytes:
        raise _too_large(len(data), limits)
    return data


def _too_large(count: int, limits: Limits) -> ImageTooLarge:
    return ImageTooLarge(f"expected at most {limits.image_bytes} bytes of picture, got {count}")
