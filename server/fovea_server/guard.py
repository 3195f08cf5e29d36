"""The process that cleans up if the launcher dies without stopping its server."""

import contextlib
import subprocess
import sys
from pathlib import Path

from fovea_server import orphans


class Guard:
    """Runs `orphans.py` until it is dismissed or this process is gone.

    Args:
        regions: prefix of the names of the server's shared memory.
        folder: of the launcher's links; None without any.
    """

    def __init__(self, regions: str, folder: Path | None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(orphans.__file__)), regions, str(folder or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def watch(self, leader: int) -> None:
        """Name the process group that it must kill; 0 for none."""
        stdin = self._process.stdin
        if stdin and not stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                stdin.write(f"{leader}\n".encode())
                stdin.flush()

    def dismiss(self) -> None:
        """End it: the server is stopped, and nothing is left to clean up."""
        stdin = self._process.stdin
        if stdin and not stdin.closed:
            self.watch(0)
            with contextlib.suppress(BrokenPipeError):
                stdin.close()
            self._process.wait()
