"""The embedded Triton on this machine's processor: the same script without a container engine."""

from __future__ import annotations

import shutil
import urllib.request
from pathlib import Path

import psutil
from fovea_server import EmbeddedServer, ServerOptions
from fovea_server.installation import prepare_backends
from fovea_server.stubs import stubs_of

from demo.served import export_demo
from deploy.smoke.run import Figures, StepFailed, StepSkipped

LEAST_FREE_GIB = 1.0
_GIB = 2**30
EXIT_TIMEOUT_S = 5


class EmbeddedHost:
    """A server in this process."""

    device = "cpu"

    def __init__(self) -> None:
        self._server: EmbeddedServer | None = None

    def preflight(self) -> Figures:
        """Check for a tritonserver, and for space for the export and for shared memory."""
        prepare_backends()
        free = {place: shutil.disk_usage(place).free / _GIB for place in (".", "/dev/shm")}
        short = [place for place, gib in free.items() if gib < LEAST_FREE_GIB]
        figures = {f"free_gib {place}": round(gib, 1) for place, gib in free.items()}
        if short:
            raise StepFailed(f"expected {LEAST_FREE_GIB:g} GiB free in {short}", figures)
        return figures

    def build_images(self) -> Figures:
        raise StepSkipped("the embedded server has no image")

    def export(self) -> Path:
        return export_demo()

    def build_engines(self) -> tuple[Path, Figures]:
        raise StepSkipped("engines are built on the GPU that will run them")

    def serve(self, repository: Path) -> str:
        options = ServerOptions(
            model_repository=repository,
            grpc_port=0,
            http_port=0,
            metrics_port=0,
            exit_timeout_s=EXIT_TIMEOUT_S,
        )
        self._server = EmbeddedServer(options).start()
        return self._server.grpc_url

    def metrics(self) -> str:
        with urllib.request.urlopen(self._running().metrics_url, timeout=10) as answer:
            return str(answer.read().decode())

    def stub_of(self, model: str) -> int | None:
        stubs = stubs_of(self._running().pid)
        living = (s for s in stubs if s.instance.startswith(f"{model}_0") and not s.is_zombie())
        return next((stub.process.pid for stub in living), None)

    def kill(self, pid: int) -> None:
        psutil.Process(pid).kill()

    def stop(self) -> Figures:
        server, self._server = self._server, None
        if server is None:
            return {}
        recoveries = server.recoveries
        code = server.stop()
        figures = {
            "exit_code": code,
            "reloads": recoveries.reloads,
            "restarts": recoveries.restarts,
        }
        if code:
            raise StepFailed(f"expected exit code 0, got {code}: see {server.log_path}", figures)
        return figures

    def clean_up(self) -> None:
        if self._server:
            self._server.kill()

    def _running(self) -> EmbeddedServer:
        if self._server is None:
            raise StepFailed("no server runs")
        return self._server
