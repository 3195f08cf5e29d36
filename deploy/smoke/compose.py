"""The services of compose.yaml, on a machine with Docker and an NVIDIA GPU."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from deploy.smoke.run import Figures, StepFailed
from export.engines import ENGINE_MANIFEST

COMPOSE = Path(__file__).parents[1] / "containers" / "compose.yaml"
PROJECT = "fovea-smoke"
SERVER, EXPORTER, ENGINES = "server-gpu", "exporter", "engines"
# Space for the server and exporter images with their base images.
LEAST_FREE_GIB = 80
# CUDA 13, which is in the images, needs this driver; see deploy/README.md.
LEAST_DRIVER = 580
BUILD_S, EXPORT_S, START_S, STOP_S, ASK_S = 1800.0, 600.0, 300.0, 120.0, 30.0
_LIST_STUBS = (
    "import psutil; "
    "from fovea_server.stubs import stubs_of; "
    "servers = [p.pid for p in psutil.process_iter(['name']) if p.info['name'] == 'tritonserver']; "
    "[print(s.process.pid, s.instance) for p in servers for s in stubs_of(p) if not s.is_zombie()]"
)
_READ_METRICS = (
    "import urllib.request as r; print(r.urlopen('http://localhost:8002/metrics').read().decode())"
)


class ComposeHost:
    """A separate compose project, with exports below `folder`."""

    device = "gpu"

    def __init__(self, folder: Path) -> None:
        self._exported, self._engines = folder / "demo", folder / "demo-engines"
        self._repository = self._exported / "model_repository"
        self._has_images = False

    def preflight(self) -> Figures:
        """Check for Docker with compose and NVIDIA's runtime, a driver, a GPU and disk space."""
        lacks = []
        for command in (["docker", "version"], ["docker", "compose", "version"], ["nvidia-smi"]):
            if shutil.which(command[0]) is None or self._call(command, ASK_S, check=False)[0]:
                lacks.append(f"`{' '.join(command)}` (it fails)")
        if lacks:
            raise StepFailed(f"this machine lacks {', '.join(lacks)}")
        info = json.loads(self._call(["docker", "info", "--format", "{{json .}}"], ASK_S)[1])
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total"]
        gpus = self._call([*query, "--format=csv,noheader"], ASK_S)[1].splitlines()
        name, driver, memory = (part.strip() for part in gpus[0].split(","))
        free = shutil.disk_usage(_existing(info["DockerRootDir"])).free / 2**30
        figures = {
            "docker": info["ServerVersion"],
            "gpu": name,
            "gpus": len(gpus),
            "driver": driver,
            "gpu_memory": memory,
            "free_gib": round(free, 1),
        }
        if "nvidia" not in info.get("Runtimes", {}) and not info.get("DiscoveredDevices"):
            lacks.append("NVIDIA's container runtime (nvidia-ctk runtime configure)")
        if int(driver.split(".")[0]) < LEAST_DRIVER:
            lacks.append(f"a driver of {LEAST_DRIVER} or newer, it has {driver}")
        if free < LEAST_FREE_GIB:
            lacks.append(f"{LEAST_FREE_GIB} GiB for images, it has {free:.0f}")
        if lacks:
            raise StepFailed(f"this machine lacks {'; '.join(lacks)}", figures)
        return figures

    def build_images(self) -> Figures:
        self._compose("build", SERVER, EXPORTER, limit_s=BUILD_S)
        self._has_images = True
        return {}

    def export(self) -> Path:
        if not self._has_images:
            raise StepFailed("the images were not built")
        _writable(self._exported)
        self._run(EXPORTER, self._exported, ["--set", "demo", "--out", "/out"])
        return self._exported / "model_repository"

    def build_engines(self) -> tuple[Path, Figures]:
        """Export for engines without a GPU, then build and compare them on the GPU.

        All figures are wanted, so drift is recorded here and judged by the answers later.
        """
        _writable(self._engines)
        graphs = ["--set", "demo", "--precision", "fp16", "--runtime", "tensorrt", "--no-engines"]
        self._run(EXPORTER, self._engines, [*graphs, "--out", "/out"])
        self._run(ENGINES, self._engines, ["/out", "--parity", "warn"])
        repository = self._engines / "model_repository"
        manifests = sorted(repository.glob(f"*/*/{ENGINE_MANIFEST}"))
        engines = {path.parent.parent.name: json.loads(path.read_text()) for path in manifests}
        keys = ("bytes", "seconds", "parity")
        return repository, {name: {k: e[k] for k in keys} for name, e in engines.items()}

    def serve(self, repository: Path) -> str:
        self._repository = repository
        up = ("up", "--detach", "--no-build", "--wait", "--wait-timeout", f"{START_S:.0f}", SERVER)
        self._compose(*up, limit_s=START_S + ASK_S)
        return self._compose("port", SERVER, "8001").strip()

    def metrics(self) -> str:
        return self._inside(_READ_METRICS)

    def stub_of(self, model: str) -> int | None:
        stubs = (line.split(maxsplit=1) for line in self._inside(_LIST_STUBS).splitlines())
        found = (int(pid) for pid, instance in stubs if instance.startswith(f"{model}_0"))
        return next(found, None)

    def kill(self, pid: int) -> None:
        self._inside(f"import os; os.kill({pid}, 9)")

    def stop(self) -> Figures:
        """Send SIGTERM, as an orchestrator does."""
        container = self._compose("ps", "--all", "--quiet", SERVER).strip()
        if not container:
            return {}
        self._compose("stop", SERVER, limit_s=STOP_S)
        state = ["docker", "inspect", "--format", "{{.State.ExitCode}}", container]
        code = int(self._call(state, ASK_S)[1])
        self._compose("rm", "--force", SERVER)
        if code:
            raise StepFailed(f"expected exit code 0, got {code}", {"exit_code": code})
        return {"exit_code": code}

    def clean_up(self) -> None:
        if shutil.which("docker"):
            self._compose("down", "--volumes", limit_s=STOP_S, check=False)

    def _inside(self, code: str) -> str:
        return self._compose("exec", "-T", SERVER, "python3", "-c", code)

    def _run(self, service: str, folder: Path, arguments: list[str]) -> None:
        """Run a service once with `folder` as its /out."""
        environment = {"FOVEA_EXPORT": str(folder.resolve())}
        command = ("run", "--rm", "-T", service, *arguments)
        self._compose(*command, limit_s=EXPORT_S, environment=environment)

    def _compose(
        self,
        *arguments: str,
        limit_s: float = ASK_S,
        environment: dict[str, str] | None = None,
        check: bool = True,
    ) -> str:
        profiles = ("--profile", "gpu", "--profile", "export", "--profile", "engines")
        command = ["docker", "compose", "-p", PROJECT, "-f", str(COMPOSE), *profiles, *arguments]
        served = {"FOVEA_MODELS": str(self._repository.resolve()), "FOVEA_PORT": "0"}
        return self._call(command, limit_s, served | (environment or {}), check=check)[1]

    def _call(
        self,
        command: list[str],
        limit_s: float,
        environment: dict[str, str] | None = None,
        *,
        check: bool = True,
    ) -> tuple[int, str]:
        """Exit code and output; raises StepFailed with a failed command's last lines."""
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                timeout=limit_s,
                env={**os.environ, **(environment or {})},
            )
        except subprocess.TimeoutExpired as error:
            raise StepFailed(f"`{' '.join(command)}` was not done after {limit_s:g} s") from error
        if check and done.returncode:
            last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
            raise StepFailed(f"`{' '.join(command)}` ended with {done.returncode}: {last}")
        return done.returncode, done.stdout


def _existing(folder: str) -> Path:
    """The folder, or its nearest parent that this user can see."""
    path = Path(folder)
    while not os.access(path, os.R_OK):
        path = path.parent
    return path


def _writable(folder: Path) -> None:
    """Make a folder that user 1000 of the containers can write, whoever runs this."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
