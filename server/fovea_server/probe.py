"""`python -m fovea_server.probe`: can this server really answer? Exit code 0 or 1.

Triton's own readiness stays 200 after a python-backend process has died, while every request for
its instance fails. This probe looks deeper, from within the same machine or container:

- live: Triton's liveness answers, gRPC accepts connections, no backend process is dead, and "ready"
  has not failed for longer than `--give-up-after-s`. It runs no model.
- ready: Triton's readiness, gRPC and the processes likewise, and every model answers or is at work.

Ensembles that users called recently need no probe request: their answers prove their models. The
rest get a request with one small picture and word, which change once an hour, so that caches keep
their entries for users. The more an answer costs, the longer it counts as proof, up to `--proof-s`:
these requests take at most a fiftieth of the time.

A slow queue is not a broken server: overload must never make an orchestrator kill or empty the
servers that carry it. A request that is refused for lack of room, or not answered in time, passes
as long as no model is stuck: one for which requests wait at every probe, and which finishes none
for `--stuck-after-s`, or for 20 of the longest executions of a network if that is more. So a
process that hangs is found after that time, and one that died or fails at once. A server is not
ready before each of its ensembles has answered once.

It talks HTTP to the loopback, which Triton serves whether gRPC is encrypted or not. The metrics
show what waits. Without them it looks at what the models behind an unanswered request have done,
and cannot tell a hanging step from a slow one while others keep the models before it busy. Between
runs it keeps its state in `$FOVEA_CACHE/probe`.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from fovea_server import probe_memory
from fovea_server.errors import ServerError
from fovea_server.installation import cache_folder
from fovea_server.probe_look import Look, ProbeFailure, Server

__all__ = ["Probe", "ProbeFailure", "main"]


@dataclass(frozen=True)
class Probe:
    """What to probe of one server.

    Attributes:
        host, http_port: where Triton's HTTP listens.
        grpc_port: where gRPC must accept connections.
        timeout_s: seconds for everything together.
        proof_s: the longest time that an answer counts; 0 asks every time.
        stuck_after_s: how long a model may stand still, or longer if executions are long.
        give_up_after_s: "live" fails if "ready" has failed for longer.
        look_at_processes: whether a dead backend process fails the probe.
        folder: of its state; None is `probe` in fovea's cache folder.
    """

    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    timeout_s: float = 10.0
    proof_s: float = 600.0
    stuck_after_s: float = 120.0
    give_up_after_s: float = 300.0
    look_at_processes: bool = True
    folder: Path | None = None

    def check(self, level: str) -> None:
        """Raise ProbeFailure unless the server passes this level, "live" or "ready"."""
        try:
            self._check(level)
        except TimeoutError as exc:
            raise ProbeFailure(f"no answer within {self.timeout_s:g} s") from exc

    def _check(self, level: str) -> None:
        server = Server.listening_on(self.http_port)
        path = self._memory_path()
        memory = probe_memory.load(path, server.run)
        look = Look(
            host=self.host,
            http_port=self.http_port,
            grpc_port=self.grpc_port,
            server=server,
            deadline=time.monotonic() + self.timeout_s,
        )
        if level == "live":
            look.at_health(level, memory, processes=self.look_at_processes)
            if (failing_s := memory.failing_s()) > self.give_up_after_s:
                raise ProbeFailure(f"not ready for {failing_s:.0f} s")
            return
        ready = False
        try:
            look.at_health(level, memory, processes=self.look_at_processes)
            look.at_models(memory, proof_s=self.proof_s, stuck_after_s=self.stuck_after_s)
            ready = True
        finally:
            memory.record(ready=ready)
            if not probe_memory.save(path, memory):
                print(f"nothing can be kept in {path}", file=sys.stderr)

    def _memory_path(self) -> Path | None:
        try:
            return (self.folder or cache_folder() / "probe") / f"{self.http_port}.json"
        except ServerError:
            return None


def main(
    level: Annotated[Literal["live", "ready"], typer.Argument()] = "ready",
    host: Annotated[str, typer.Option(help="Where Triton's HTTP and gRPC listen.")] = Probe.host,
    http_port: int = Probe.http_port,
    grpc_port: int = Probe.grpc_port,
    timeout_s: Annotated[
        float, typer.Option(help="Seconds for everything together.")
    ] = Probe.timeout_s,
    proof_s: Annotated[
        float, typer.Option(help="Seconds that an answer is proof, at most; 0 asks every time.")
    ] = Probe.proof_s,
    stuck_after_s: Annotated[
        float, typer.Option(help="Seconds that a model may stand still while requests wait for it.")
    ] = Probe.stuck_after_s,
    give_up_after_s: Annotated[
        float, typer.Option(help='Seconds of a failing "ready" after which "live" fails.')
    ] = Probe.give_up_after_s,
    look_at_processes: Annotated[
        bool, typer.Option(help="Whether a dead backend process fails the probe.")
    ] = Probe.look_at_processes,
) -> None:
    """Check whether this server can really answer: print one line, exit with 0 or 1."""
    probe = Probe(
        host=host,
        http_port=http_port,
        grpc_port=grpc_port,
        timeout_s=timeout_s,
        proof_s=proof_s,
        stuck_after_s=stuck_after_s,
        give_up_after_s=give_up_after_s,
        look_at_processes=look_at_processes,
    )
    began = time.monotonic()
    try:
        probe.check(level)
    except ProbeFailure as failure:
        print(f"not {level}: {failure}", file=sys.stderr)
        raise typer.Exit(1) from failure
    print(f"{level} in {time.monotonic() - began:.2f} s")


if __name__ == "__main__":
    typer.run(main)
