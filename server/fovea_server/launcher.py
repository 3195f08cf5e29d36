"""Starts tritonserver, keeps it working and stops it."""

import logging
import os
import secrets
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from fovea.backlog import METRICS_URL
from fovea_server import repository
from fovea_server.administration import Administration
from fovea_server.command import READING_SECRET, build_command
from fovea_server.errors import ServerError, StartError
from fovea_server.guard import Guard
from fovea_server.hardware import this_machine
from fovea_server.installation import BackendDirectory, cache_folder, prepare_backends
from fovea_server.log_file import LogFile
from fovea_server.options import ServerOptions
from fovea_server.ports import Ports, choose_ports, reachable
from fovea_server.process import TritonProcess, new_log_path
from fovea_server.safe_paths import SafePaths
from fovea_server.stubs import stubs_of
from fovea_server.watch import Recoveries, Watcher

# tritonserver counts its exit timeout in whole seconds and then unloads, which takes this longer.
_STOP_GRACE_S = 10.0
# Before a restart, requests to the other models may finish for this long.
_RESTART_DRAIN_S = 2.0
# Another process may take a free port before tritonserver gets it.
_PORT_ATTEMPTS = 3
# Models may take this long to unload once every request is answered, in s.
_UNLOAD_GRACE_S = 6.0
_GAVE_UP = 1

log = logging.getLogger("fovea_server")
_POLL_S = 0.1


class EmbeddedServer:
    """A tritonserver with its own lifetime: `with EmbeddedServer(options) as server: ...`.

    If the launching process dies, in whatever way, tritonserver and its stubs are killed.

    Attributes:
        options: those that it was made with.
        ports: the ports in use, once started.
        models: names of the models that were ready at the start.
        log_path: the file with Triton's log; its older parts are beside it.
        failure: why the server was given up; None unless it was.

    Raises:
        UnwritableError: the log has no folder, because this user has no home.
    """

    def __init__(self, options: ServerOptions) -> None:
        self.options = options
        self.ports: Ports | None = None
        self.models: list[str] = []
        self.log_path = options.log_path or new_log_path(cache_folder() / "logs")
        self._log = LogFile(
            self.log_path,
            max_bytes=options.log_max_bytes,
            backups=options.log_backups,
            echo=sys.stderr if options.echo_log else None,
        )
        # The prefix finds all of them, whichever stub left them behind.
        self._regions = f"fovea_{secrets.token_hex(8)}_shm_region_"
        self._paths = SafePaths()
        self._repository = Path(options.model_repository)
        self._backends: BackendDirectory | None = None
        self._administration: Administration | None = None
        self._process: TritonProcess | None = None
        self._watcher: Watcher | None = None
        self._guard: Guard | None = None
        self._stop_requested = False
        self._unloading_since: float | None = None
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self.failure: ServerError | None = None

    def __enter__(self) -> "EmbeddedServer":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def prepare(self) -> None:
        """Check everything that can be checked before tritonserver runs; `start` does it first.

        Raises:
            RepositoryError: there are no models, no weights, weights other than the export's, or
                networks that this Triton would run differently than exported.
            TritonserverNotFoundError: there is none on this machine.
            UnwritableError: the log or the cache folder cannot be written.
        """
        folder = Path(self.options.model_repository)
        repository.check(folder)
        if self.options.verify_checksums:
            repository.verify(folder)
        self._log.open()
        try:
            backends = prepare_backends()
            if backends.official_onnxruntime:
                repository.check_official_backend(folder)
            self._backends = self._paths.of_backends(backends)
            self._repository = self._paths.of(folder, "model_repository")
        except BaseException:
            self._paths.remove()
            raise

    def start(
        self, *, on_progress: Callable[[list[str]], None] = lambda loaded: None
    ) -> "EmbeddedServer":
        """Return once every model is ready.

        Args:
            on_progress: called now and then with the names of the models loaded so far.

        Raises:
            RepositoryError, TritonserverNotFoundError, UnwritableError: see `prepare`.
            ModelLoadError: models failed to load; it has each one's reason.
            StartError: tritonserver ended for another reason or took too long.
        """
        if self._backends is None:
            self.prepare()
        try:
            self._guard = Guard(self._regions, self._paths.folder)
            self._launch_on_free_ports(on_progress)
            self.models = self._admin().models()
        except BaseException:
            self.kill()
            raise
        if self.options.restart_dead_backends:
            self._watcher = self._new_watcher()
            self._watcher.start()
        return self

    @property
    def pid(self) -> int:
        """tritonserver's process id; it changes with a restart."""
        return self._current().pid

    @property
    def grpc_url(self) -> str:
        """host:port for tritonclient.grpc."""
        return f"{reachable(self.options.host)}:{self._used_ports().grpc}"

    @property
    def http_url(self) -> str:
        """host:port for tritonclient.http."""
        return f"{reachable(self.options.http_address)}:{self._used_ports().http}"

    @property
    def metrics_url(self) -> str:
        """The whole address of the Prometheus metrics."""
        return f"http://{reachable(self.options.host)}:{self._used_ports().metrics}/metrics"

    @property
    def recoveries(self) -> Recoveries:
        """How often dead processes were replaced."""
        return self._watcher.recoveries if self._watcher else Recoveries()

    @property
    def stop_requested(self) -> bool:
        """Whether a stop was requested."""
        return self._stop_requested

    def load_changes(self) -> list[str]:
        """Load new versions, configurations and models of the repository while all others serve.

        Rename a new version folder into place, so that it is never seen half written.

        Returns:
            Names of the models that are ready.

        Raises:
            RepositoryError: files differ from their export's checksums; nothing was loaded.
            ServerError: the model control mode is not "explicit", or a model could not be loaded.
        """
        if self.options.model_control_mode != "explicit":
            mode = self.options.model_control_mode
            raise ServerError(f"expected the model control mode 'explicit', got {mode!r}")
        if self.options.verify_checksums:
            repository.verify(Path(self.options.model_repository))
        self._paths.renew()
        return self._admin().load_changes(timeout_s=self.options.start_timeout_s)

    def request_stop(self) -> None:
        """Begin a stop and return: running requests finish; a second call kills.

        May be called from a signal handler.
        """
        again, self._stop_requested = self._stop_requested, True
        self._stopping.set()
        if self._watcher:
            self._watcher.stop()
        if not self._process:
            return
        if again:
            self._process.kill_unfinished()
        elif self._reloads_models and self.models and self._start_draining():
            return
        else:
            self._process.terminate()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Block until the server has ended for good.

        Returns:
            tritonserver's exit code, 1 if it was given up, or None if `timeout_s` ran out.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._ended.wait(_POLL_S):
            unwatched = self._watcher is None or self._stopping.is_set()
            if unwatched and self._current().exit_code is not None:
                break
            if self._stopping.is_set() and self._held_up_by_unloading():
                self._current().kill()
                return 0
            if deadline is not None and time.monotonic() > deadline:
                return None
        return _GAVE_UP if self.failure else self._current().exit_code

    def stop(self) -> int:
        """Stop the server and return its exit code.

        Running requests and open connections get `exit_timeout_s` seconds.
        """
        if not self._stop_requested:
            self.request_stop()
        code = self.wait(self.options.exit_timeout_s + _STOP_GRACE_S)
        self.kill()
        return _GAVE_UP if code is None else code

    def kill(self) -> None:
        """End everything at once; nothing of the server is left afterwards."""
        self._stopping.set()
        if self._watcher:
            self._watcher.stop()
        try:
            with self._lock:
                if self._process:
                    self._process.kill()
            self._log.close()
            if self._guard:
                self._guard.dismiss()
            self._paths.remove()
        finally:
            # Waiting threads must learn of the end even if something could not be cleaned up.
            self._ended.set()

    def _launch_on_free_ports(self, on_progress: Callable[[list[str]], None]) -> None:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self.ports = choose_ports(self.options)
            host = reachable(self.options.http_address)
            self._administration = Administration(host=host, port=self.ports.http)
            self._launch()
            try:
                self._wait_until_ready(on_progress)
                return
            except StartError:
                fixed = self.options.grpc_port and self.options.http_port
                taken = self._current().address_in_use()
                if not taken or (fixed and self.options.metrics_port) or attempt == _PORT_ATTEMPTS:
                    raise

    def _launch(self) -> None:
        if self._backends is None:
            raise ServerError("the server was not started")
        backends = self._backends
        command = build_command(
            self.options,
            repository=self._repository,
            backends=backends,
            ports=self._used_ports(),
            secret=self._admin().secret,
            reading_secret=self._admin().reading_secret,
            regions=self._regions,
            hardware=this_machine(),
        )
        self._paths.renew()
        with self._lock:
            if self._stopping.is_set():
                raise ServerError("the server was stopped before it was ready")
            environment = backends.environment(os.environ) | {
                METRICS_URL: self.metrics_url,
                READING_SECRET: self._admin().reading_secret,
            }
            self._process = TritonProcess(
                command,
                environment=environment,
                regions=self._regions,
                log=self._log,
                log_path=self.log_path,
            )
            if self._guard:
                self._guard.watch(self._process.pid)

    def _wait_until_ready(self, on_progress: Callable[[list[str]], None]) -> None:
        self._current().wait_until_ready(
            self._admin(),
            timeout_s=self.options.start_timeout_s,
            on_progress=on_progress,
        )

    def _restart(self) -> None:
        self._current().stop(timeout_s=_RESTART_DRAIN_S)
        self._launch()
        self._wait_until_ready(lambda loaded: None)

    @property
    def _reloads_models(self) -> bool:
        """Whether this launcher, and nobody else, may load and unload single models."""
        explicit = self.options.model_control_mode == "explicit"
        return explicit and "model-repository" in self.options.closed_apis

    def _start_draining(self) -> bool:
        try:
            threading.Thread(target=self._drain, name="fovea-server-drain", daemon=True).start()
        except RuntimeError:
            # No more threads can be started: stop without draining the ensembles.
            return False
        return True

    def _drain(self) -> None:
        """Let running ensembles finish, then tell tritonserver to end."""
        deadline = time.monotonic() + self.options.exit_timeout_s
        try:
            self._admin().close_ensembles()
            while self._admin().is_draining() and time.monotonic() < deadline:
                time.sleep(_POLL_S)
        except ServerError as exc:
            log.warning("stopping without draining the ensembles: %s", exc)
        self._current().terminate()

    def _new_watcher(self) -> Watcher:
        return Watcher(
            process=self._current,
            administration=self._admin(),
            restart=self._restart,
            ended=self.kill,
            give_up=self._give_up,
            reload=self._reloads_models,
            max_per_minute=self.options.max_restarts_per_minute,
            reload_timeout_s=self.options.start_timeout_s,
        )

    def _give_up(self, error: ServerError) -> None:
        self.failure = error
        try:
            self.kill()
        except Exception:
            log.exception("the rest of the server could not be cleaned up")

    def _held_up_by_unloading(self) -> bool:
        """Whether every request is answered and a stop only waits for models to unload.

        Triton cannot drop a model whose process died during a request, and under load it sometimes
        fails to drop one whose process lives: it would wait for the whole exit timeout, and then
        report that it failed.
        """
        process = self._current()
        if not process.has_stopped_all_models():
            return False
        now = time.monotonic()
        self._unloading_since = self._unloading_since or now
        if now - self._unloading_since > _UNLOAD_GRACE_S:
            return True
        stubs = stubs_of(process.pid)
        return bool(self.recoveries.reloads) and all(stub.is_zombie() for stub in stubs)

    def _current(self) -> TritonProcess:
        if self._process is None:
            raise ServerError("the server was not started")
        return self._process

    def _used_ports(self) -> Ports:
        if self.ports is None:
            raise ServerError("the server was not started")
        return self.ports

    def _admin(self) -> Administration:
        if self._administration is None:
            raise ServerError("the server was not started")
        return self._administration
