"""`python -m export.engines FOLDER`: the engines of an export, on the GPU that will run them.

FOLDER is what `python -m export --runtime tensorrt` wrote. Each engine goes into its model
repository, beside a manifest of what it was made from and with; it is made again only when any
of that changed. The last step runs it on the samples of the export: drift fails the build.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from export.engine_parity import check_engine
from export.errors import EngineError, ExportError
from export.pipeline import MANIFEST
from export.profiles import Profile, profile
from export.repository import plan_path
from export.to_engine import LIBRARIES, Library, build, local_compute_capability
from fovea.pipeline import PipelineSpec, networks
from fovea.specs import ModelSpec, Tolerance, from_json

ENGINE_MANIFEST = "engine.json"
console = Console(stderr=True)


@dataclass(frozen=True)
class Job:
    """One engine to make: `onnx` to `plan` for a GPU of `compute_capability`."""

    spec: ModelSpec
    onnx: Path
    plan: Path
    profile: Profile
    precision: str
    library: Library
    compute_capability: str

    @property
    def manifest(self) -> Path:
        return self.plan.with_name(ENGINE_MANIFEST)

    def key(self) -> dict[str, Any]:
        """What decides the engine: with an equal key it need not be built again."""
        return {
            "onnx_sha256": hashlib.sha256(self.onnx.read_bytes()).hexdigest(),
            "library": self.library.name,
            "version": self.library.version,
            "compute_capability": self.compute_capability,
            "precision": self.precision,
            "profile": json.loads(json.dumps(asdict(self.profile)))["shapes"],
        }


def jobs(folder: Path, library: Library, compute_capability: str) -> list[Job]:
    """The five engines of an export for engines; raises EngineError for another folder."""
    path = folder / MANIFEST
    manifest = json.loads(path.read_text()) if path.is_file() else {}
    if manifest.get("request", {}).get("runtime") != "tensorrt":
        raise EngineError(
            f"{folder}: expected what `python -m export --runtime tensorrt` writes there"
        )
    pipeline = from_json(PipelineSpec, json.dumps(manifest["pipeline"]))
    records = {record["name"]: record for record in manifest["networks"]}
    return [
        Job(
            spec=replace(spec, tolerance=Tolerance(**records[spec.name]["tolerance"])),
            onnx=folder / "onnx" / f"{spec.name}.onnx",
            plan=plan_path(folder / "model_repository", spec.name),
            profile=profile(spec, pipeline),
            precision=records[spec.name]["precision"],
            library=library,
            compute_capability=compute_capability,
        )
        for spec in networks(pipeline)
    ]


def make(job: Job, timing_cache: Path | None = None, *, force: bool = False) -> dict[str, Any]:
    """The engine's manifest; builds and checks it unless an equal one is there.

    The plan is there only when it agrees, and the manifest is written last.
    """
    key = job.key()
    found = None if force else _reusable(job, key)
    if found:
        return found | {"reused": True}
    job.manifest.unlink(missing_ok=True)
    job.plan.unlink(missing_ok=True)
    start = time.perf_counter()
    plan = build(job.onnx, job.profile, job.library, job.compute_capability, timing_cache)
    seconds = time.perf_counter() - start
    parity = check_engine(plan, job.spec, job.onnx, job.library, job.compute_capability)
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
    """The manifest of an engine that was made from and with exactly the same."""
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
        str | None, typer.Option(help='Such as "8.6"; default: that of this machine\'s GPU.')
    ] = None,
    force: Annotated[bool, typer.Option(help="Build again though nothing changed.")] = False,
) -> None:
    """Build, check and place the five engines."""
    try:
        make_all(folder, LIBRARIES[library], compute_capability, force=force)
    except ExportError as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        raise typer.Exit(1) from error


def make_all(
    folder: Path, library: Library, compute_capability: str | None = None, *, force: bool = False
) -> None:
    """Build, check and place the five engines, and print what came of it.

    compute_capability: such as "8.6"; None is that of this machine's GPU.
    """
    target = _target(library, compute_capability)
    table = Table("network", "precision", "SM", "MB", "seconds", "reused", "parity")
    for job in jobs(folder, library, target):
        with console.status(f"{job.spec.name}: building"):
            record = make(job, folder / "timing.cache", force=force)
        table.add_row(*_row(job, record))
    console.print(table)


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
    return [
        job.spec.name,
        job.precision,
        job.compute_capability,
        f"{record['bytes'] / 1e6:.1f}",
        f"{record['seconds']:.1f}",
        "yes" if record["reused"] else "no",
        parity.get("skipped") or f"{max(a['difference'] for a in parity['worst']):.1e}",
    ]


if __name__ == "__main__":
    typer.run(main)
