"""tritonserver's output: to a rotating file, and to stderr for containers."""

import collections
import io
import logging
import logging.handlers
import sys
import threading
from pathlib import Path
from typing import IO, TextIO

from fovea_server.errors import UnwritableError

# Lines of one run that are kept in memory, so that the launcher can search the log.
_KEPT_LINES = 5000
_DRAIN_S = 2.0

log = logging.getLogger("fovea_server")


class LogFile:
    """One file with its older parts beside it (name.1 is the youngest), and maybe a stream.

    Args:
        path: the file.
        max_bytes: a part is full at this size; 0 for a single part without limit.
        backups: how many older parts are kept.
        echo: a stream that everything is also written to.
    """

    def __init__(
        self, path: Path, *, max_bytes: int, backups: int, echo: TextIO | None = None
    ) -> None:
        self._path = path
        self._to_file = _RotatingFile(
            path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8", delay=True
        )
        self._handlers: list[logging.Handler] = [self._to_file]
        if echo is not None:
            self._handlers.append(logging.StreamHandler(echo))

    def open(self) -> None:
        """Create the file and its folder.

        Raises:
            UnwritableError: they cannot be created.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.open("a").close()
        except OSError as exc:
            raise UnwritableError(
                f"cannot write the log {self._path}: {exc.strerror}; name another folder with "
                "FOVEA_CACHE, or another file with log_path"
            ) from exc

    def write(self, line: str) -> None:
        """Add one line, given without its end."""
        record = logging.makeLogRecord({"msg": line})
        for handler in self._handlers:
            handler.handle(record)

    def close(self) -> None:
        """Close the file."""
        for handler in self._handlers:
            handler.close()


class _RotatingFile(logging.handlers.RotatingFileHandler):
    """Reports only once, in one line, that the file cannot be written, as on a full disk."""

    _failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not self._failed:
            log.error("the log %s is incomplete: %s", self.baseFilename, sys.exc_info()[1])
        self._failed = True


class LogReader(threading.Thread):
    """Copies what one process prints to the log file until all writers are gone."""

    def __init__(self, source: IO[bytes], to: LogFile) -> None:
        super().__init__(name="fovea-server-log", daemon=True)
        self._source = source
        self._to = to
        self._lines: collections.deque[str] = collections.deque(maxlen=_KEPT_LINES)

    def run(self) -> None:
        """The thread's loop."""
        with io.TextIOWrapper(self._source, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self._lines.append(line.rstrip("\n"))
                self._to.write(self._lines[-1])

    def drain(self) -> None:
        """Wait for the last lines of a process that has ended."""
        self.join(_DRAIN_S)

    def text(self) -> str:
        """The last lines so far."""
        return "\n".join(self._lines.copy())
