"""One check of a running server from its own machine."""

import contextlib
import http.client
import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psutil

from fovea.backlog import METRICS_URL, Load, parse_loads
from fovea_server import activity, probe_requests
from fovea_server.activity import Models
from fovea_server.command import READING_HEADER, READING_SECRET
from fovea_server.probe_memory import Memory
from fovea_server.stubs import stubs_of

_TRITONSERVER = "tritonserver"
# Triton's wording for a refusal for lack of room or time in its queues.
_BUSY = ("Exceeds maximum queue size", "Request timeout expired", "request timeout")
# A step that calls a network has up to 16 requests running before it finishes one.
_PATIENT_EXECUTIONS = 20
# This share of the total time, at most this many seconds, is left to look at what has moved.
_LOOK_SHARE, _LOOK_S = 0.2, 2.0


class ProbeFailure(Exception):
    """The server is broken; the message says how."""


@dataclass(frozen=True)
class Server:
    """This user's tritonserver on a port; all fields are empty if there is none.

    Attributes:
        pids: its processes.
        run: identifies this run of it.
        environment: set by its launcher.
    """

    pids: tuple[int, ...] = ()
    run: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def listening_on(cls, port: int) -> "Server":
        found = []
        for process in psutil.process_iter(["name"]):
            if process.info["name"] != _TRITONSERVER:
                continue
            with contextlib.suppress(psutil.Error):
                sockets = process.net_connections("tcp")
                if any(s.status == psutil.CONN_LISTEN and s.laddr.port == port for s in sockets):
                    run = f"{process.pid} since {process.create_time()}"
                    found.append((process.pid, run, process.environ()))
        if not found:
            return cls()
        pids, runs, environments = zip(*found, strict=True)
        return cls(pids, ", ".join(runs), environments[0])


@dataclass(frozen=True, kw_only=True)
class Look:
    """Every method raises ProbeFailure, and TimeoutError after the monotonic deadline."""

    host: str
    http_port: int
    grpc_port: int
    server: Server
    deadline: float

    def at_health(self, level: str, memory: Memory, *, processes: bool) -> None:
        """Check that Triton is at this level, gRPC accepts, and, if asked, no process is dead."""
        status, _ = self._ask("GET", f"/v2/health/{level}")
        if status != 200:
            raise ProbeFailure(f"Triton says that it is not {level}: HTTP {status}")
        with _translated():
            address = (self.host, self.grpc_port)
            socket.create_connection(address, self._left(self.deadline)).close()
        if processes:
            self._at_processes(memory)

    def at_models(self, memory: Memory, *, proof_s: float, stuck_after_s: float) -> None:
        """Check that every model has answered recently, answers now, or is at work."""
        models = activity.read_models(self._fetch)
        asked = activity.to_ask(models, probe_requests.can_ask, proof_s)
        unanswered = self._infer_all({name: models[name].inputs for name in asked})
        memory.answered |= {name for name, model in models.items() if model.last_answer_s}
        memory.answered |= {*asked} - {*unanswered}
        if never := [name for name in unanswered if name not in memory.answered]:
            raise ProbeFailure(f"no answer in time, and none ever, from {', '.join(never)}")
        longest_s = activity.longest_execution_s(models)
        patience_s = max(stuck_after_s, _PATIENT_EXECUTIONS * longest_s)
        silent = memory.silent_s(self._waiting(models, unanswered))
        if stuck := sorted(name for name, seconds in silent.items() if seconds >= patience_s):
            raise ProbeFailure(
                f"requests wait, and {', '.join(stuck)} has done nothing for {patience_s:.0f} s"
            )

    def _at_processes(self, memory: Memory) -> None:
        """A dead process counts until another one has taken its place: Triton may keep it."""
        if not self.server.pids:
            raise ProbeFailure(f"no tritonserver of this user listens on port {self.http_port}")
        stubs = [stub for pid in self.server.pids for stub in stubs_of(pid)]
        dead = [stub for stub in stubs if stub.is_zombie()]
        alive = {stub.instance for stub in stubs if stub.is_alive()}
        if not dead:
            memory.instances = alive
        elif not memory.instances or memory.instances - alive:
            raise ProbeFailure(f"{len(dead)} backend processes are dead")

    def _infer_all(self, ensembles: Mapping[str, tuple[str, ...]]) -> list[str]:
        """Call ensembles, by their inputs' names, at once; returns those that did not answer.

        Raises:
            ProbeFailure: one has failed, other than for lack of room or time.
        """
        if not ensembles:
            return []
        seed = probe_requests.current_seed()
        left = self._left(self.deadline)
        deadline = self.deadline - min(_LOOK_S, _LOOK_SHARE * left)
        with ThreadPoolExecutor(len(ensembles)) as pool:
            answers = {
                name: pool.submit(
                    self._infer, name, probe_requests.make_inputs(inputs, seed), deadline
                )
                for name, inputs in ensembles.items()
            }
        return [name for name, answered in answers.items() if not answered.result()]

    def _infer(self, name: str, inputs: probe_requests.Inputs, deadline: float) -> bool:
        try:
            body, headers = probe_requests.encode(inputs, self._left(deadline))
            status, answer = self._ask(
                "POST", f"/v2/models/{name}/infer", body=body, headers=headers, deadline=deadline
            )
        except TimeoutError:
            return False
        if status == 200:
            return True
        if any(words in answer for words in _BUSY):
            return False
        raise ProbeFailure(f"{name}: HTTP {status}: {_reason(answer)}")

    def _waiting(self, models: Models, unanswered: list[str]) -> dict[str, int]:
        """What requests wait for -> how much it has done; without metrics, by ensemble."""
        if loads := self._loads():
            return {
                name: round(load.work.executions)
                for name, load in loads.items()
                if load.waiting and name in models and not models[name].steps
            }
        if not unanswered:
            return {}
        done = activity.read_models(self._fetch)
        return {
            # The first step also finishes the requests that it refuses.
            name: sum(
                done[step].executions
                for step in models[name].steps - models[name].entry or models[name].steps
                if step in done
            )
            for name in unanswered
        }

    def _loads(self) -> dict[str, Load]:
        """Each model's load from the metrics; empty if they cannot be read."""
        url = self.server.environment.get(METRICS_URL)
        if not url:
            return {}
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            urllib.request.urlopen(url, timeout=self._left(self.deadline)) as answer,
        ):
            return parse_loads(answer.read())
        return {}

    def _fetch(self, path: str) -> Any:
        """The JSON at a path; None if Triton does not know it."""
        secret = self.server.environment.get(READING_SECRET)
        status, answer = self._ask("GET", path, headers={READING_HEADER: secret or ""})
        if status == 403:
            raise ProbeFailure(f"{path} is closed to this probe: run it as the server's user")
        return json.loads(answer) if status == 200 else None

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> tuple[int, str]:
        """Status and text; raises TimeoutError, and ProbeFailure for other errors."""
        timeout_s = self._left(self.deadline if deadline is None else deadline)
        connection = http.client.HTTPConnection(self.host, self.http_port, timeout=timeout_s)
        with _translated(), contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")

    @staticmethod
    def _left(deadline: float) -> float:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("no answer in time")
        return left


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except TimeoutError:
        raise
    except (OSError, http.client.HTTPException) as exc:
        raise ProbeFailure(f"{type(exc).__name__}: {exc}") from exc


def _reason(answer: str) -> str:
    with contextlib.suppress(ValueError, AttributeError):
        return str(json.loads(answer).get("error", answer))
    return answer[:200]
