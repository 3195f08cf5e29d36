"""Copies Triton's log, while it grows, to where a container's log is read."""

import threading
from pathlib import Path
from typing import TextIO

_LOOK_EVERY_S = 0.2
_CHUNK = 65536


class LogEcho(threading.Thread):
    """Follows one file until stopped; what was written before the stop is still copied."""

    def __init__(self, path: Path, to: TextIO) -> None:
        super().__init__(name="fovea-server-log", daemon=True)
        self._path = path
        self._to = to
        self._stopped = threading.Event()

    def run(self) -> None:
        """The thread's loop."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        with self._path.open(errors="replace") as log:
            while True:
                last_look = self._stopped.wait(_LOOK_EVERY_S)
                while text := log.read(_CHUNK):
                    self._to.write(text)
                self._to.flush()
                if last_look:
                    return

    def stop(self) -> None:
        """Returns when all is copied."""
        self._stopped.set()
        self.join()
