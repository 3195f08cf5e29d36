"""`python -m export.engines_rtx`: builds every network with TensorRT for RTX, for every SM.

Needs no GPU. Each graph is traced once and kept.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from export import lower_precision
from export.assembly import aside
from export.deployments import Export, load, read_deployment
from export.errors import ExportError
from export.grid_sample import GridSample
from export.network import Network
from export.onnx_files import parts
from export.precision import Precision
from export.profiles import profile
from export.rtx_build import RTX, Outcome, isolated_build
from export.runtimes import RUNTIMES
from export.stand_ins import STAND_IN, stand_in
from export.to_onnx import to_onnx
from fovea.deployment_file import DeploymentFile
from fovea.limits import Limits

TARGETS = ("8.6", "8.9", "12.0")
ENGINE_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")
console = Console(stderr=True)


@dataclass(frozen=True)
class Built:
    """The outcome for one network in one precision and for one target."""

    network: str
    precision: str
    compute_capability: str
    onnx_bytes: int
    outcome: Outcome

    def record(self) -> dict[str, Any]:
        """Flat, for JSON."""
        fields = asdict(self)
        return fields | fields.pop("outcome")


def graph(network: Network, folder: Path, key: str, form: GridSample, precision: Precision) -> Path:
    """The network's graph in this precision; traced again only if `key` changed."""
    whole = folder / "fp32" / f"{network.spec.name}.onnx"
    mark = whole.with_suffix(".json")
    if not (whole.is_file() and mark.is_file() and mark.read_text() == key):
        mark.unlink(missing_ok=True)
        to_onnx(network, whole, grid_sample=form)
        mark.write_text(key)
    if precision == "fp32":
        return whole
    lowered = folder / precision / whole.name
    if lowered.is_file() and lowered.stat().st_mtime_ns > whole.stat().st_mtime_ns:
        return lowered
    with aside(folder) as made:
        draft = made / whole.name
        for part in parts(whole):
            shutil.copyfile(part, made / part.name)
        lower_precision.lower(network.policy, draft, precision)
        lowered.parent.mkdir(parents=True, exist_ok=True)
        for part in reversed(parts(draft)):  # the graph last: it marks the set as complete
            part.replace(lowered.with_name(part.name))
    return lowered


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to build: every network of `names`, precision and target."""

    networks: list[Network]
    limits: Limits
    folder: Path
    key: str
    grid_sample: GridSample
    precisions: list[Precision]
    targets: list[str]


def build_all(plan: Plan) -> list[Built]:
    """Build all, one after the other."""
    results: list[Built] = []
    with Progress(console=console) as progress:
        total = len(plan.networks) * len(plan.precisions) * len(plan.targets)
        task = progress.add_task("", total=total)
        for network in plan.networks:
            shapes = profile(network.spec, plan.limits)
            for precision in plan.precisions:
                progress.update(task, description=f"{network.spec.name} {precision}: tracing")
                path = graph(network, plan.folder, plan.key, plan.grid_sample, precision)
                for target in plan.targets:
                    progress.update(task, description=f"{path.stem} {precision}: SM {target}")
                    outcome = isolated_build(path, shapes, target)
                    size = path.stat().st_size
                    results.append(Built(path.stem, precision, target, size, outcome))
                    progress.advance(task)
    return results


def main(
    deployment: Annotated[str, typer.Option("--set", help="A deployment.")] = "demo",
    checkpoints: Annotated[
        Path | None, typer.Option(help="A folder of checkpoints instead of the members' own.")
    ] = None,
    grounding_dino_edge: int | None = None,
    grid_sample: Annotated[str, typer.Option(help="gather or native.")] = "gather",
    network: Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="SM such as 8.6; repeatable.")] = None,
    work: Path = Path("build/engines-rtx"),
    out: Annotated[Path, typer.Option("--json")] = Path("build/engines-rtx.json"),
) -> None:
    """Build every engine; fails if a node is not supported or an engine is not built."""
    try:
        RTX.load()
        chosen = _chosen(checkpoints, deployment, work)
        if grounding_dino_edge:
            chosen = chosen.with_option("grounding_dino", "longest_edge", grounding_dino_edge)
        folder = work / chosen.name
        export = Export(chosen, folder, runtime=RUNTIMES["tensorrt"])
        loaded = load(export)
        keys = {name: member.key() for name, member in export.find().items()}
        plan = Plan(
            networks=[n for n in loaded.networks if not network or n.spec.name in network],
            limits=loaded.deployment.limits,
            folder=folder,
            key=json.dumps(keys | {"grid_sample": grid_sample}),
            grid_sample=grid_sample,
            precisions=precision or list(ENGINE_PRECISIONS),
            targets=target or list(TARGETS),
        )
        results = build_all(plan)
    except ExportError as error:
        console.print(f"[red]{type(error).__name__}[/]: {error}", highlight=False)
        raise typer.Exit(1) from error
    record = {
        "source": chosen.name if checkpoints is None else "folder",
        "library": RTX.name,
        "version": RTX.version,
        "grid_sample": grid_sample,
        "grounding_dino_edge": grounding_dino_edge,
        "engines": [result.record() for result in results],
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1) + "\n")
    console.print(_table(results))
    if not all(result.outcome.built and not result.outcome.unsupported for result in results):
        raise typer.Exit(1)


def _chosen(checkpoints: Path | None, deployment: str, work: Path) -> DeploymentFile:
    if deployment == STAND_IN:
        return stand_in(work / "checkpoints")
    chosen = read_deployment(deployment)
    if checkpoints is None:
        return chosen
    return chosen.with_checkpoints({name: str(checkpoints / name) for name in chosen.members})


def _table(results: list[Built]) -> Table:
    table = Table("network", "precision", "SM", "unsupported", "built", title="TensorRT for RTX")
    table.add_column("MB", justify="right")
    table.add_column("seconds", justify="right")
    for result in results:
        outcome = result.outcome
        table.add_row(
            result.network,
            result.precision,
            result.compute_capability,
            ", ".join(outcome.unsupported) or "none",
            "yes" if outcome.built else f"no: {outcome.error}",
            f"{outcome.bytes / 1e6:.1f}",
            f"{outcome.seconds:.1f}",
        )
    return table


if __name__ == "__main__":
    typer.run(main)
