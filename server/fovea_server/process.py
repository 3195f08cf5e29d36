"""One run of the tritonserver process, from its start to its end."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from fovea_server import triton_log
from fovea_server.administration import Administration
from fovea_server.errors import ModelLoadError, StartError
from fovea_server.log_file import LogFile, LogReader
from fovea_server.orphans import kill_group

_POLL_S = 0.1
_ADDRESS_IN_USE = "already in use"
_ALL_STOPPED = "All models are stopped"


class TritonProcess:
    """tritonserver in its own process group, its output in a log file.

    Args:
        command: the program and its arguments.
        environment: of the program and its stubs.
        regions: prefix of the names of its stubs' shared memory.
        log: where its output goes.

    Attributes:
        pid: its process id, also the id of its process group.
        log_path: of the log file, for whoever looks for a reason.

    Raises:
        StartError: the program cannot be run.
    """

    def __init__(
        self,
        command: list[str],
        *,
        environment: Mapping[str, str],
        regions: str,
        log: LogFile,
        log_path: Path,
    ) -> None:
        self.log_path = log_path
        self._regions = regions
        try:
            self._popen = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as exc:
            message = f"cannot run {command[0]}: {exc.strerror}"
            raise StartError(message, exit_code=None, log_path=log_path) from exc
        self.pid = self._popen.pid
        self._cleared = False
        assert self._popen.stdout is not None
        self._reader = LogReader(self._popen.stdout, log)
        self._reader.start()

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        return self._popen.poll()

    def log(self) -> str:
        """The log of this run so far, or its last lines if it is long."""
        if self.exit_code is not None:
            self._reader.drain()
        return self._reader.text()

    def wait_until_ready(
        self,
        administration: Administration,
        *,
        timeout_s: float,
        on_progress: Callable[[list[str]], None] = lambda loaded: None,
    ) -> None:
        """Return once the server reports that it is ready.

        Args:
            administration: queries this server.
            timeout_s: seconds from now.
            on_progress: called now and then with the names of the models loaded so far.

        Raises:
            ModelLoadError: the process ended because models failed to load.
            StartError: it ended for another reason, or the time is up.
        """
        deadline = time.monotonic() + timeout_s
        while self.exit_code is None:
            if time.monotonic() > deadline:
                raise self._not_ready(timeout_s)
            log = self.log()
            if log:
                administration.hide_secrets(self.pid)
            # Another server may hold the port and answer instead.
            if administration.is_ready() and self._listens_on(administration.port):
                return
            on_progress(triton_log.loaded_models(log))
            time.sleep(_POLL_S)
        raise self._start_error()

    def terminate(self) -> None:
        """Tell the server to finish its requests and end; it ends its stubs itself."""
        if self.exit_code is None:
            os.kill(self.pid, signal.SIGTERM)

    def kill_unfinished(self) -> None:
        """Kill the server and its stubs if it still runs; safe in a signal handler."""
        if self.exit_code is None:
            os.killpg(self.pid, signal.SIGKILL)

    def stop(self, *, timeout_s: float) -> int:
        """Let running requests finish for up to `timeout_s` seconds, then kill the rest."""
        self.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(timeout_s)
        return self.kill()

    def kill(self) -> int:
        """Kill what is left of the server and its stubs; returns the exit code."""
        if not self._cleared:
            kill_group(self.pid, self._regions)
            self._cleared = True
        code = self._popen.wait()
        self._reader.drain()
        return code

    def has_stopped_all_models(self) -> bool:
        """Whether every request has ended during a stop."""
        return _ALL_STOPPED in self.log()

    def address_in_use(self) -> bool:
        """Whether the log says that a port was taken."""
        return _ADDRESS_IN_USE in self.log()

    def _listens_on(self, port: int) -> bool:
        with contextlib.suppress(psutil.Error):
            sockets = psutil.Process(self.pid).net_connections("tcp")
            return any(s.status == psutil.CONN_LISTEN and s.laddr.port == port for s in sockets)
        return False

    def _not_ready(self, timeout_s: float) -> StartError:
        message = f"tritonserver was not ready after {timeout_s:.0f} s"
        return StartError(message, exit_code=None, log_path=self.log_path)

    def _start_error(self) -> StartError:
        log = self.log()
        failures = triton_log.load_failures(log)
        if failures:
            return ModelLoadError(failures, exit_code=self.exit_code, log_path=self.log_path)
        reason = triton_log.last_error(log)
        message = f"tritonserver ended with exit code {self.exit_code}: {reason}"
        return StartError(message, exit_code=self.exit_code, log_path=self.log_path)


def new_log_path(folder: Path) -> Path:
    """A log file name that no other server uses."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return folder / f"tritonserver-{stamp}-{os.getpid()}-{time.monotonic_ns() % 1_000_000:06d}.log"
