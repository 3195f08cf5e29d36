"""Notices dead processes of a server and replaces them.

Triton 2.51 does not replace a python-backend process that died: the model stays "ready" while
each of its requests fails after 1 s. Two cures were measured on 2 busy CPU cores with two small
models, from `kill -9` to the next answer: 0.6 to 0.8 s by loading that one model again through the
repository API (0.15 to 0.35 s of it the reload, while all other models keep answering), and 3.0 to
3.2 s by a restart of the server, which grows with every model that must be loaded again and refuses
all requests meanwhile. `pytest -s tests/server/test_watch.py` prints both. So only the model is
reloaded if the API can be used (model control mode "explicit", the API closed to all without the
launcher's secret); otherwise, and if the reload fails, the server is restarted on the same ports.

A dead process is a zombie in Triton 2.51. Triton 25.12 and later reap it when somebody asks
whether its model is ready, so a vanished process that its model still counts on is dead too.

A plain reload is not enough: Triton keeps an unchanged model, dead instances included. The reload
therefore carries the model's own configuration with one more parameter (see `administration`).
"""

import collections
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fovea_server.administration import Administration
from fovea_server.errors import RestartLimitError, ServerError
from fovea_server.process import TritonProcess
from fovea_server.stubs import Stub, stubs_of

_LOOK_EVERY_S = 0.25
# Looks between two searches for new stubs, which "poll" mode and clients' requests create.
_SEARCH_EVERY = 8
# One look may fail for a passing reason, such as too many open files; this many in a row may not.
_FAILED_LOOKS = 20
_WINDOW_S = 60.0
_FIRST_BACKOFF_S = 0.5

log = logging.getLogger("fovea_server")


@dataclass
class Recoveries:
    """How often dead processes were replaced since the server's start.

    Attributes:
        reloads: models loaded again because one of their processes died.
        restarts: starts of a new tritonserver process.
        last_s: seconds from noticing to working again, for the last one.
    """

    reloads: int = 0
    restarts: int = 0
    last_s: float = 0.0


class Watcher(threading.Thread):
    """Watches one server until stopped.

    Args:
        process: returns the current tritonserver process.
        administration: queries that server.
        restart: replaces the process by a new one on the same ports, and returns when it is ready.
        ended: called if tritonserver has ended in good order without the launcher's request.
        give_up: called with the error if nothing can be recovered any more.
        reload: whether single models may be reloaded.
        max_per_minute: the most reloads and restarts within 60 s.
        reload_timeout_s: how long one reload may take, in s.
    """

    def __init__(
        self,
        *,
        process: Callable[[], TritonProcess],
        administration: Administration,
        restart: Callable[[], None],
        ended: Callable[[], None],
        give_up: Callable[[ServerError], None],
        reload: bool,
        max_per_minute: int,
        reload_timeout_s: float,
    ) -> None:
        super().__init__(name="fovea-server-watch", daemon=True)
        self.recoveries = Recoveries()
        self._process = process
        self._administration = administration
        self._restart = restart
        self._ended = ended
        self._give_up = give_up
        self._reload = reload
        self._max_per_minute = max_per_minute
        self._reload_timeout_s = reload_timeout_s
        self._stopped = threading.Event()
        self._recent: collections.deque[float] = collections.deque()
        self._stubs: dict[int, Stub] = {}
        self._suspects: set[int] = set()
        self._handled_dead: set[int] = set()

    def start(self) -> None:
        """Begin to watch the processes that exist now."""
        self._search()
        super().start()

    def stop(self) -> None:
        """Begin no further recovery; one that runs is not waited for."""
        self._stopped.set()

    def run(self) -> None:
        """The thread's loop."""
        look = failed = 0
        while not self._stopped.wait(_LOOK_EVERY_S):
            look += 1
            try:
                if look % _SEARCH_EVERY == 0:
                    self._search()
                self._look()
                failed = 0
            except ServerError as exc:
                return self._end(exc)
            except Exception as exc:
                # A server that nobody watches must not go on, whatever the reason.
                failed += 1
                if failed > _FAILED_LOOKS:
                    return self._end(ServerError(f"watching failed: {type(exc).__name__}: {exc}"))

    def _end(self, error: ServerError) -> None:
        if not self._stopped.is_set():
            log.error("giving up: %s", error)
            self._give_up(error)

    def _search(self) -> None:
        """Find new stubs."""
        for stub in stubs_of(self._process().pid):
            self._stubs.setdefault(stub.process.pid, stub)

    def _forget(self, pid: int) -> None:
        self._stubs.pop(pid, None)
        self._handled_dead.discard(pid)

    def _look(self) -> None:
        code = self._process().exit_code
        if code == 0:
            # Somebody has told tritonserver itself to stop, and it has done so in good order.
            self._ended()
            self._stopped.set()
            return
        if code is not None:
            self._recover(f"tritonserver ended with exit code {code}", [])
            return
        for pid in [pid for pid in self._handled_dead if self._stubs[pid].has_vanished()]:
            self._forget(pid)
        watched = self._stubs.keys() - self._handled_dead
        gone = {pid for pid in watched if not self._stubs[pid].is_alive()}
        # Triton reaps a stub that it ended itself within moments, so the second look decides.
        judged = [self._stubs[pid] for pid in sorted(gone & self._suspects)]
        self._suspects = gone
        dead = [stub for stub in judged if stub.is_zombie() or self._is_missed(stub)]
        if dead:
            names = ", ".join(stub.instance or "a model" for stub in dead)
            self._recover(f"the backend process of {names} died", dead)

    def _is_missed(self, vanished: Stub) -> bool:
        """Whether the model of a vanished stub still counts on it; if not, it is forgotten.

        It does not if the stub was replaced, its model unloaded, or its instance removed.
        """
        stubs = stubs_of(self._process().pid)
        replaced = any(stub.instance == vanished.instance and stub.is_alive() for stub in stubs)
        try:
            if not replaced and self._administration.model_of_instance(vanished.instance):
                return True
        except ServerError:
            return False  # The next look asks again, or finds that tritonserver has ended.
        self._forget(vanished.process.pid)
        return False

    def _recover(self, what: str, dead: list[Stub]) -> None:
        noticed = time.monotonic()
        self._count(what)
        if not (dead and self._reload and self._reload_models(dead)):
            self._restart_server(what)
        for stub in dead:
            stub.remove_shared_memory()
            if stub.process.pid in self._stubs:
                # It stays a zombie until Triton drops the old instances.
                self._handled_dead.add(stub.process.pid)
        self._search()
        self.recoveries.last_s = time.monotonic() - noticed
        log.warning(
            "%s; working again after %.2f s (%d reloads, %d restarts so far)",
            what,
            self.recoveries.last_s,
            self.recoveries.reloads,
            self.recoveries.restarts,
        )

    def _reload_models(self, dead: list[Stub]) -> bool:
        try:
            models = {self._administration.model_of_instance(stub.instance) for stub in dead}
            for model in sorted(model for model in models if model is not None):
                self._administration.reload(model, timeout_s=self._reload_timeout_s)
                self.recoveries.reloads += 1
        except ServerError as exc:
            log.warning("reload failed, restarting the server: %s", exc)
            return False
        return None not in models

    def _restart_server(self, what: str) -> None:
        log.warning("%s: restarting tritonserver", what)
        backoff = _FIRST_BACKOFF_S * (2 ** max(0, len(self._recent) - 2))
        if len(self._recent) > 1 and self._stopped.wait(backoff):
            return
        self._restart()
        self._stubs.clear()
        self._handled_dead.clear()
        self.recoveries.restarts += 1

    def _count(self, what: str) -> None:
        now = time.monotonic()
        self._recent.append(now)
        while self._recent[0] < now - _WINDOW_S:
            self._recent.popleft()
        if len(self._recent) > self._max_per_minute:
            raise RestartLimitError(
                f"{what}, {len(self._recent)} times within {_WINDOW_S:.0f} s; "
                f"the limit is {self._max_per_minute}"
            )
