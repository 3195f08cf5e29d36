"""`python -m export.engines FOLDER`: build the engines of an export, on the GPU that runs them.

FOLDER is what `python -m export --runtime tensorrt` wrote. Each engine goes into its model
repository, beside a manifest of its sources and tools; it is built again only if one of those
changed. The last step runs it on the samples of the export: drift fails the build. The export's
checksums then cover the engines too.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from export import onnx_files
from export.checksums import write_checksums
from export.engine_parity import check_engine
from export.errors import EngineError, ExportError
from export.profiles import Profile, profile
from export.repository import plan_path
from export.to_engine import (
    LIBRARIES,
    WORKSPACE_BYTES,
    Library,
    build,
    local_compute_capability,
    local_gpu,
)
from fovea.deployment import Deployment
from fovea.house import wire
from fovea.layout import GRAPH, MANIFEST, REPOSITORY
from fovea.manifest import deployment_of
from fovea.specs import ModelSpec, Tolerance

ENGINE_MANIFEST = "engine.json"
_MAX_BATCH = re.compile(r"^max_batch_size: (\d+)$", re.MULTILINE)
console = Console(stderr=True)


class Parity(str, Enum):
    """What happens when an engine's answers drift."""

    stop = "stop"
    warn = "warn"


@dataclass(frozen=True)
class Job:
    """One engine to make: `onnx` to `plan` for a GPU of `compute_capability`.

    gpu: its name, "" for a GPU of another machine. workspace_bytes: see `to_engine.build`.
    """

    spec: ModelSpec
    onnx: Path
    plan: Path
    profile: Profile
    precision: str
    library: Library
    compute_capability: str
    gpu: str = ""
    workspace_bytes: int = WORKSPACE_BYTES

    @property
    def manifest(self) -> Path:
        return self.plan.with_name(ENGINE_MANIFEST)

    def key(self) -> dict[str, Any]:
        """What decides the engine: with an equal key it need not be built again."""
        return {
            "onnx_sha256": onnx_files.sha256(self.onnx),
            "library": self.library.name,
            "version": self.library.version,
            "compute_capability": self.compute_capability,
            "gpu": self.gpu,
            "workspace_bytes": self.workspace_bytes,
            "precision": self.precision,
            "profile": json.loads(json.dumps(asdict(self.profile)))["shapes"],
        }


def jobs(
    folder: Path,
    library: Library,
    compute_capability: str,
    *,
    gpu: str = "",
    max_batch: int | None = None,
    workspace_bytes: int = WORKSPACE_BYTES,
) -> list[Job]:
    """The engines of an export for engines; raises EngineError for another folder.

    max_batch: caps the batches of the engines and in the folder's configurations.
    """
    manifest = _manifest(folder)
    deployment = deployment_of(manifest)
    records = {record["name"]: record for record in manifest["networks"]}
    repository = folder / REPOSITORY
    if max_batch:
        cap_batches(repository, deployment, max_batch)
    specs = [
        replace(spec, max_batch_size=_max_batch(repository, spec))
        for spec in wire(deployment).networks
    ]
    return [
        Job(
            spec=replace(spec, tolerance=Tolerance(**records[spec.name]["tolerance"])),
            onnx=folder / "onnx" / spec.name / GRAPH,
            plan=plan_path(repository, spec.name),
            profile=profile(spec, deployment.limits),
            precision=records[spec.name]["precision"],
            library=library,
            compute_capability=compute_capability,
            gpu=gpu,
            workspace_bytes=workspace_bytes,
        )
        for spec in specs
    ]


def _manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an export for engines; raises EngineError for another folder."""
    path = folder / MANIFEST
    manifest: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    if manifest.get("request", {}).get("runtime") != "tensorrt":
        raise EngineError(
            f"{folder}: expected what `python -m export --runtime tensorrt` writes there"
        )
    return manifest


def cap_batches(repository: Path, deployment: Deployment, largest: int) -> None:
    """Cap the batches of every network, and of requests to every ensemble."""
    wired = wire(deployment)
    for spec in (*wired.networks, *wired.ensembles):
        path = repository / spec.name / "config.pbtxt"
        path.write_text(
            _MAX_BATCH.sub(lambda m: f"max_batch_size: {min(int(m[1]), largest)}", path.read_text())
        )


def _max_batch(repository: Path, spec: ModelSpec) -> int:
    """The largest batch that the server sends; a machine's settings may lower the export's."""
    found = _MAX_BATCH.search((repository / spec.name / "config.pbtxt").read_text())
    return int(found[1]) if found else spec.max_batch_size


def make(
    job: Job, timing_cache: Path | None = None, *, force: bool = False, stop: bool = True
) -> dict[str, Any]:
    """Build and check the engine unless an equal one is there; returns its manifest.

    The manifest is written last. An engine whose answers drift is kept only without `stop`, with
    its drift in the manifest; with `stop` it is made again.
    """
    key = job.key()
    found = None if force else _reusable(job, key)
    if found and not (stop and found["parity"].get("failed")):
        return found | {"reused": True}
    job.manifest.unlink(missing_ok=True)
    job.plan.unlink(missing_ok=True)
    start = time.perf_counter()
    plan = build(
        job.onnx,
        job.profile,
        job.library,
        job.compute_capability,
        timing_cache,
        job.workspace_bytes,
    )
    seconds = time.perf_counter() - start
    parity = check_engine(plan, job.spec, job.onnx, job.library, job.compute_capability, stop=stop)
    record = {
        **key,
        "plan_sha256": hashlib.sha256(plan).hexdigest(),
        "bytes": len(plan),
        "seconds": round(seconds, 2),
        "parity": parity,
    }
    job.plan.parent.mkdir(parents=True, exist_ok=True)
    job.plan.write_bytes(plan)
    job.manifest.write_text(json.dumps(record, indent=1) + "\n")
    return record | {"reused": False}


def _reusable(job: Job, key: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of an engine that was built from and with exactly the same."""
    if not (job.manifest.is_file() and job.plan.is_file()):
        return None
    record: dict[str, Any] = json.loads(job.manifest.read_text())
    same = all(record.get(name) == value for name, value in key.items())
    intact = hashlib.sha256(job.plan.read_bytes()).hexdigest() == record.get("plan_sha256")
    return record if same and intact else None


def main(
    folder: Annotated[Path, typer.Argument(help="What `python -m export` wrote.")],
    library: Annotated[str, typer.Option(help=f"One of {', '.join(LIBRARIES)}.")] = "tensorrt",
    compute_capability: Annotated[
        str | None, typer.Option(help='Such as "8.6"; default: this machine\'s GPU.')
    ] = None,
    max_batch: Annotated[
        int | None,
        typer.Option(min=1, help="Largest batch that fits this GPU's memory."),
    ] = None,
    workspace_mib: Annotated[
        int, typer.Option(min=1, help="GPU memory that one layer may take.")
    ] = WORKSPACE_BYTES // 2**20,
    parity: Annotated[
        Parity, typer.Option(help="What drift does; warn shows every figure of a first run.")
    ] = Parity.stop,
    force: Annotated[bool, typer.Option(help="Build again even if nothing changed.")] = False,
) -> None:
    """Build, check and place the engines."""
    try:
        make_all(
            folder,
            LIBRARIES[library],
            compute_capability,
            force=force,
            max_batch=max_batch,
            workspace_bytes=workspace_mib * 2**20,
            stop=parity is Parity.stop,
        )
    except ExportError as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        raise typer.Exit(1) from error


def make_all(
    folder: Path,
    library: Library,
    compute_capability: str | None = None,
    *,
    force: bool = False,
    max_batch: int | None = None,
    workspace_bytes: int = WORKSPACE_BYTES,
    stop: bool = True,
) -> None:
    """Build, check and place every engine, and print the results.

    compute_capability: such as "8.6"; None is that of this machine's GPU. stop: drift ends it.
    """
    target = _target(library, compute_capability)
    gpu = "" if library.chooses_target else local_gpu() or ""
    table = Table("network", "precision", "SM", "MB", "seconds", "reused", "difference", "task")
    wanted = jobs(
        folder, library, target, gpu=gpu, max_batch=max_batch, workspace_bytes=workspace_bytes
    )
    try:
        for job in wanted:
            with console.status(f"{job.spec.name}: building"):
                record = make(job, folder / "timing.cache", force=force, stop=stop)
            table.add_row(*_row(job, record))
            for line in record["parity"].get("drift", []):
                console.print(f"[yellow]drift[/]: {line}", highlight=False)
    finally:
        record_files(folder)  # of the engines that are there, even if a later one failed
    console.print(table)


def record_files(folder: Path) -> None:
    """Write the checksums of an export's files as they are now, in its manifest and its list."""
    path = folder / MANIFEST
    manifest = json.loads(path.read_text())
    names = wire(deployment_of(manifest)).names
    manifest["files"] = write_checksums(folder / REPOSITORY, names)
    draft = path.with_name(f".{path.name}")
    draft.write_text(json.dumps(manifest, indent=1) + "\n")
    draft.replace(path)


def _target(library: Library, asked: str | None) -> str:
    local = local_compute_capability()
    target = asked or local
    if target is None or (target != local and not library.chooses_target):
        raise EngineError(
            f"{library.name} builds for the GPU that it runs on, here is "
            f"{f'one of compute capability {local}' if local else 'no CUDA device'}; "
            "tensorrt_rtx builds for another: --library tensorrt_rtx --compute-capability 8.6"
        )
    return target


def _row(job: Job, record: dict[str, Any]) -> list[str]:
    parity = record["parity"]
    worst = max((agreement["difference"] for agreement in parity.get("worst", [])), default=0.0)
    return [
        job.spec.name,
        job.precision,
        job.compute_capability,
        f"{record['bytes'] / 1e6:.1f}",
        f"{record['seconds']:.1f}",
        "yes" if record["reused"] else "no",
        parity.get("skipped") or f"{worst:.1e}",
        ", ".join(f"{name} {value:.4f}" for name, value in parity.get("task", {}).items()),
    ]


if __name__ == "__main__":
    typer.run(main)
