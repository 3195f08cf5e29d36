"""Paths that are safe on a shell's command line and in a search path.

Triton's Python backend starts its processes with `bash -c` and does not quote paths: those of the
model repository and of the backends must not have a space, quote, parenthesis, `$` or the like, and
those in LD_LIBRARY_PATH no colon. A symbolic link with a safe name replaces a path that has one.
"""

import contextlib
import dataclasses
import os
import re
import shutil
import tempfile
from pathlib import Path

from fovea_server.errors import ServerError
from fovea_server.installation import BackendDirectory, cache_folder

_SAFE = re.compile(r"[A-Za-z0-9_@%+=,./-]+")
_ELSEWHERE = ("/tmp", "/var/tmp", "/dev/shm")


def is_safe(path: str | Path) -> bool:
    """Whether bash and a search path take these characters literally."""
    return _SAFE.fullmatch(str(path)) is not None


class SafePaths:
    """Links for the paths of one server, in a folder that only this user can open.

    Attributes:
        folder: of the links; None if none was needed so far.
    """

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._links: dict[Path, Path] = {}

    def of(self, path: Path, name: str) -> Path:
        """The path itself if it is safe, else a link to it with this name.

        Raises:
            ServerError: no folder with a safe path can be written.
        """
        path = path.absolute()
        if is_safe(path):
            return path
        self.folder = self.folder or _new_folder()
        link = self.folder / name
        self._links[link] = path
        self.renew()
        return link

    def of_backends(self, backends: BackendDirectory) -> BackendDirectory:
        """The same backends by safe paths; raises like `of`."""
        libraries = enumerate(backends.library_path)
        return dataclasses.replace(
            backends,
            folder=self.of(backends.folder, "backends"),
            library_path=tuple(self.of(path, f"libraries-{n}") for n, path in libraries),
        )

    def renew(self) -> None:
        """Recreate the links if somebody has removed them, as happens to old files in /tmp.

        Raises:
            ServerError: they cannot be made.
        """
        try:
            for link, path in self._links.items():
                link.parent.mkdir(mode=0o700, exist_ok=True)
                if not link.is_symlink():
                    link.symlink_to(path)
        except OSError as exc:
            raise ServerError(f"cannot link {path} to {link}: {exc.strerror}") from exc

    def remove(self) -> None:
        """Remove the links and their folder."""
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def _new_folder() -> Path:
    # The cache first: unlike in /tmp, nobody removes old files there.
    places = (cache_folder().absolute() / "paths", Path(tempfile.gettempdir()), *_ELSEWHERE)
    for place in filter(is_safe, places):
        with contextlib.suppress(OSError):
            os.makedirs(place, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix="fovea-", dir=place))
    raise ServerError(
        "a path has characters that Triton's stubs cannot be started with, and no folder without "
        f"such characters can be written; looked at {', '.join(map(str, places))}"
    )
