"""`python -m fovea_server.probe`: can this server really answer? Exit code 0 or 1.

Triton's own readiness stays 200 when a python-backend process has died, while every request that
its instance gets fails. This probe looks deeper, from within the same machine or container:

| level | what must hold |
| --- | --- |
| live | Triton's liveness answers, gRPC accepts connections, no backend process is dead |
| ready | the same, Triton's readiness, and a real request through every model is answered |

A server that refuses the requests because its queues are full is busy, not broken: that passes,
so that overload never makes an orchestrator kill or empty the servers that carry it. "live" runs
no model, so that slow answers never kill a server.

It talks HTTP to the loopback, which Triton serves whether gRPC is encrypted or not.
"""

import argparse
import contextlib
import http.client
import json
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import psutil

from fovea_server import probe_requests
from fovea_server.stubs import stubs_of

# How Triton words a refusal for want of room or of time in its queues.
_BUSY = ("Exceeds maximum queue size", "Request timeout expired", "request timeout")
_TRITONSERVER = "tritonserver"


class ProbeFailure(Exception):
    """The server is broken; the message says in what way."""


@dataclass(frozen=True)
class Probe:
    """What is asked of one server.

    Attributes:
        host, http_port: where Triton's HTTP listens.
        grpc_port: where gRPC must accept connections.
        models: ensembles of `probe_requests.PROBED` that must answer.
        timeout_s: seconds for everything together.
        look_at_processes: whether a dead backend process fails the probe.
    """

    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    models: tuple[str, ...] = tuple(probe_requests.PROBED)
    timeout_s: float = 10.0
    look_at_processes: bool = True

    def check(self, level: str) -> None:
        """Raises ProbeFailure unless the server is of this level, "live" or "ready"."""
        deadline = time.monotonic() + self.timeout_s
        try:
            self._check_health(level, deadline)
            if self.look_at_processes:
                self._check_processes()
            if level == "ready":
                self._check_models(deadline)
        except (OSError, http.client.HTTPException) as exc:
            raise ProbeFailure(f"{type(exc).__name__}: {exc}") from exc

    def _check_health(self, level: str, deadline: float) -> None:
        status, _ = self._ask("GET", f"/v2/health/{level}", deadline)
        if status != 200:
            raise ProbeFailure(f"Triton says that it is not {level}: HTTP {status}")
        socket.create_connection((self.host, self.grpc_port), _left(deadline)).close()

    def _check_processes(self) -> None:
        servers = list(_listeners(self.http_port))
        if not servers:
            raise ProbeFailure(f"no tritonserver of this user listens on port {self.http_port}")
        dead = [stub for pid in servers for stub in stubs_of(pid) if stub.is_zombie()]
        if dead:
            raise ProbeFailure(f"{len(dead)} backend processes are dead")

    def _check_models(self, deadline: float) -> None:
        with ThreadPoolExecutor(len(self.models)) as pool:
            asked = {pool.submit(self._infer, model, deadline): model for model in self.models}
            for answer in as_completed(asked):
                answer.result()

    def _infer(self, model: str, deadline: float) -> None:
        body, headers = probe_requests.encode(probe_requests.inputs_of(model))
        status, answer = self._ask("POST", f"/v2/models/{model}/infer", deadline, body, headers)
        if status != 200 and not any(words in answer for words in _BUSY):
            raise ProbeFailure(f"{model}: HTTP {status}: {_reason(answer)}")

    def _ask(
        self,
        method: str,
        path: str,
        deadline: float,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection(self.host, self.http_port, timeout=_left(deadline))
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")


def main(argv: list[str] | None = None) -> int:
    """Prints one line: ok, or what is wrong."""
    arguments = vars(_parser().parse_args(argv))
    level = arguments.pop("level")
    probe = Probe(**{**arguments, "models": tuple(arguments["models"])})
    began = time.monotonic()
    try:
        probe.check(level)
    except ProbeFailure as failure:
        print(f"not {level}: {failure}", file=sys.stderr)
        return 1
    print(f"{level} in {time.monotonic() - began:.2f} s")
    return 0


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m fovea_server.probe", description=__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("level", nargs="?", choices=("live", "ready"), default="ready")
    made.add_argument("--host", default=Probe.host, help="where Triton's HTTP and gRPC listen")
    made.add_argument("--http-port", type=int, default=Probe.http_port)
    made.add_argument("--grpc-port", type=int, default=Probe.grpc_port)
    made.add_argument("--timeout-s", type=float, default=Probe.timeout_s, help="for everything")
    made.add_argument("--models", nargs="+", choices=Probe.models, default=Probe.models)
    made.add_argument(
        "--look-at-processes",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether a dead backend process fails the probe",
    )
    return made


def _listeners(port: int) -> Iterator[int]:
    """Process ids of the tritonservers that listen on a TCP port."""
    for process in psutil.process_iter(["name"]):
        if process.info["name"] != _TRITONSERVER:
            continue
        with contextlib.suppress(psutil.Error):
            sockets = process.net_connections("tcp")
            if any(s.status == psutil.CONN_LISTEN and s.laddr.port == port for s in sockets):
                yield process.pid


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise ProbeFailure("no answer in time")
    return left


def _reason(answer: str) -> str:
    with contextlib.suppress(ValueError, AttributeError):
        return str(json.loads(answer).get("error", answer))
    return answer[:200]


if __name__ == "__main__":
    sys.exit(main())
