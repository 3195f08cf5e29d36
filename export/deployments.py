"""Makes a deployment a model repository: members exported, wired, placed and recorded."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from export import onnx_files
from export.assembly import aside, exclusive, link_or_copy, take_place
from export.checkpoints import Checkpoint, find
from export.checksums import write_checksums
from export.engine_parity import samples_path
from export.errors import ExportError, ParityError, UnsupportedPrecision
from export.grid_sample import GridSample
from export.machine import int8_saturates
from export.members import (
    MEMBERS,
    Exported,
    Form,
    MemberExport,
    Opened,
    export_member,
    read_record,
)
from export.network import Network
from export.precision import PRECISIONS, Precision
from export.repository import (
    carry_over,
    holds_generated,
    onnx_path,
    place_files,
    write_repository,
)
from export.runtimes import RUNTIMES, Runtime
from fovea import deployment_file, families
from fovea.deployment import Deployment
from fovea.deployment_file import DeploymentFile
from fovea.house import wire
from fovea.layout import GRAPH, MANIFEST, REPOSITORY
from fovea.machine_settings import MachineSettings
from fovea.manifest import deployment_of
from fovea.specs import to_json
from fovea.verbs import InvalidDeployment, check_members

ROOT = Path(__file__).resolve().parent.parent
# The deployments that come with the project, by name.
DEPLOYMENTS = {path.stem: path for path in sorted((ROOT / "deployments").glob("*.toml"))}


@dataclass(frozen=True)
class Export:
    """What to export, and where. `report` is called at each step with (network, what).

    precision, runtime: None takes the deployment's. grid_sample, max_batch, embedded_bytes: see
    `export.members.Form`. settings: of the machine that will serve; they only go into the
    configurations, so changing them exports nothing again. members: where exported members are kept
    for every deployment.
    """

    deployment: DeploymentFile
    out: Path
    report: Callable[[str, str], None] = field(default=lambda network, what: None)
    _: KW_ONLY
    precision: Precision | None = None
    runtime: Runtime | None = None
    grid_sample: GridSample | None = None
    max_batch: int | None = None
    settings: MachineSettings | None = None
    embedded_bytes: int = onnx_files.EMBEDDED_BYTES
    members: Path = MEMBERS

    def __post_init__(self) -> None:
        form = self.form
        if form.precision not in form.runtime.precisions:
            raise UnsupportedPrecision(
                f"runtime {form.runtime.name} runs {', '.join(form.runtime.precisions)}, "
                f"got {form.precision}"
            )

    @property
    def form(self) -> Form:
        """The form of the networks; raises ExportError."""
        serving = self.deployment.serving
        if serving.runtime not in RUNTIMES:
            raise ExportError(
                f"expected a runtime of {', '.join(RUNTIMES)}, got {serving.runtime!r}"
            )
        if serving.precision not in PRECISIONS:
            raise ExportError(
                f"expected a precision of {', '.join(PRECISIONS)}, got {serving.precision!r}"
            )
        return Form(
            self.precision or serving.precision,
            self.runtime or RUNTIMES[serving.runtime],
            self.grid_sample,
            self.max_batch,
            self.embedded_bytes,
        )

    @property
    def repository(self) -> Path:
        return self.out / REPOSITORY

    def onnx_path(self, network: str) -> Path:
        """In the repository, or beside it if engines take the place of the graphs."""
        if self.form.runtime.needs_engines:
            return self.out / "onnx" / network / GRAPH
        return onnx_path(self.repository, network)

    def find(self) -> dict[str, MemberExport]:
        """The members' checkpoints, on disk but unread; raises ExportError.

        Refuses a deployment whose members do not fit its verbs before it reads weights.
        """
        sources = self.deployment.members
        found = {name: find(name, source) for name, source in sources.items()}
        roles = {name: families.load(one.family).ROLE for name, one in found.items()}
        try:
            check_members(self.deployment.verbs, roles)
        except InvalidDeployment as error:
            raise ExportError(f"{self.deployment.name}: {error}") from error
        return {
            name: MemberExport(one, sources[name].options, self.form) for name, one in found.items()
        }

    def wired(self, members: Iterable[Exported | Opened]) -> Deployment:
        """The deployment of these members, as this runtime can serve it."""
        return Deployment(
            members=tuple(one.member for one in members),
            verbs=self.deployment.verbs,
            limits=self.form.runtime.limit(self.deployment.limits),
        )


def read_deployment(name: str) -> DeploymentFile:
    """Read a TOML file, or by name one that comes with the project; raises ExportError."""
    if name in DEPLOYMENTS:
        path = DEPLOYMENTS[name]
    elif name.endswith(".toml"):
        path = Path(name)
    else:
        raise ExportError(f"expected a .toml file or one of {', '.join(DEPLOYMENTS)}, got {name!r}")
    try:
        return deployment_file.read(path)
    except InvalidDeployment as error:
        raise ExportError(str(error)) from error


@dataclass(frozen=True)
class Loaded:
    """A deployment in memory: its members' specs, and their networks in torch."""

    deployment: Deployment
    networks: list[Network]
    checkpoints: dict[str, Checkpoint]


def load(export: Export) -> Loaded:
    """Open every checkpoint; nothing is written."""
    found = export.find()
    opened = [member.open() for member in found.values()]
    networks = [network for one in opened for network in one.networks]
    checkpoints = {name: member.checkpoint for name, member in found.items()}
    return Loaded(export.wired(opened), networks, checkpoints)


def run(export: Export, *, force: bool = False) -> dict[str, Any]:
    """Export, check and place; returns the manifest. Raises ParityError on drift.

    Members are exported once: if checkpoint, options, form and code are unchanged, the kept ones
    are used. The new export is assembled aside as a whole before it replaces the old one: a failure
    leaves the old one untouched, and a server that has it mounted never sees half of each.
    """
    requests = export.find()
    members = _members(export, requests, force=force)
    request = _request(export, requests, members)
    found = None if force else _reusable(export, request)
    if found and _has_configs(export, found):
        return found
    with exclusive(export.out, lambda: export.report("export", "waiting for another one")):
        found = None if force else _reusable(export, request)  # the other process may have made it
        if found and _has_configs(export, found):
            return found
        with aside(export.out) as folder:
            draft = replace(export, out=folder)
            manifest = _assemble(draft, export, members, request)
            (export.out / MANIFEST).unlink(missing_ok=True)
            for part in sorted(path for path in folder.iterdir() if path.is_dir()):
                take_place(part, export.out / part.name)
            (folder / MANIFEST).replace(export.out / MANIFEST)
            return manifest


def _members(
    export: Export, requests: Mapping[str, MemberExport], *, force: bool
) -> dict[str, Exported]:
    try:
        return {
            name: export_member(request, export.members, report=export.report, force=force)
            for name, request in requests.items()
        }
    except ParityError as error:
        if export.form.precision == "int8" and int8_saturates():
            raise ParityError(
                f"{error}. This processor has no VNNI, so int8 sums saturate in ONNX Runtime: "
                "export on one that has it, or choose another precision"
            ) from error
        raise


def _request(
    export: Export, requests: Mapping[str, MemberExport], members: Mapping[str, Exported]
) -> dict[str, Any]:
    """Everything that decides the repository, except the machine's settings."""
    keys = {name: one.record["key"] for name, one in members.items()}
    request = {
        "deployment": export.deployment.name,
        "checkpoints": {
            name: {
                "source": _relative(request.checkpoint.source),
                "revision": request.checkpoint.revision,
                **{field: keys[name][field] for field in ("sha256", "opset", "versions")},
                "options": dict(request.options),
                "fingerprint": members[name].member.fingerprint,
                "kept": members[name].folder.name,
            }
            for name, request in requests.items()
        },
        "verbs": [asdict(verb) for verb in export.deployment.verbs],
        "limits": asdict(export.form.runtime.limit(export.deployment.limits)),
        **export.form.key(),
        "versions": {"fovea": version("fovea")},
    }
    made: dict[str, Any] = json.loads(json.dumps(request))
    return made


def _reusable(export: Export, request: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of an equal export whose files are all there with their recorded sizes."""
    manifest = read_record(export.out / MANIFEST)
    if manifest is None or manifest.get("request") != request:
        return None
    files = ((export.repository / name, kept["bytes"]) for name, kept in manifest["files"].items())
    whole = all(path.is_file() and path.stat().st_size == bytes_ for path, bytes_ in files)
    return manifest if whole else None


def _has_configs(export: Export, manifest: dict[str, Any]) -> bool:
    """Whether the generated files are those that this machine's settings ask for."""
    with tempfile.TemporaryDirectory() as folder:
        draft = replace(export, out=Path(folder))
        _write_configs(draft, deployment_of(manifest))
        return holds_generated(export.repository, draft.repository)


def _assemble(
    draft: Export, former: Export, members: Mapping[str, Exported], request: dict[str, Any]
) -> dict[str, Any]:
    """Write a whole export into `draft`, the manifest last; `former` is what it replaces."""
    deployment = draft.wired(members.values())
    _write_configs(draft, deployment)
    served = {network.name for network in wire(deployment).networks}
    records = [record for one in members.values() for record in _place(draft, one, served)]
    folders = {name: one.folder for name, one in members.items()}
    place_files(draft.repository, wire(deployment).steps, folders)
    carry_over(former.repository, draft.repository, _with_equal_graphs(draft, former, records))
    manifest = {
        "request": request,
        "networks": records,
        "preprocessing": {name: one.record["preprocessing"] for name, one in members.items()},
        "files": write_checksums(draft.repository, wire(deployment).names),
        "deployment": json.loads(to_json(deployment)),
    }
    (draft.out / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def _place(draft: Export, exported: Exported, served: Collection[str]) -> list[dict[str, Any]]:
    """Link a member's graphs into the export; returns their records under the member's name.

    served: the networks that the deployment's verbs need.
    """
    role, records = exported.member.play(), []
    for kept in exported.record["networks"]:
        name, graph = role.network_name(kept["part"]), exported.graph(kept["part"])
        if name not in served:
            continue
        target = draft.onnx_path(name)
        for part in onnx_files.parts(graph):
            link_or_copy(part, target.with_name(part.name))
        if draft.form.runtime.needs_engines:
            link_or_copy(samples_path(graph), samples_path(target))
        named = [{**agreement, "network": name} for agreement in kept["parity"]]
        records.append({"name": name, **kept, "parity": named})
    return records


def _with_equal_graphs(draft: Export, former: Export, records: list[dict[str, Any]]) -> list[str]:
    """Networks whose graph has not changed: engines that were built from it stay."""
    if not draft.form.runtime.needs_engines:
        return []
    return [
        record["name"]
        for record in records
        if former.onnx_path(record["name"]).is_file()
        and onnx_files.sha256(former.onnx_path(record["name"])) == record["sha256"]
    ]


def _write_configs(export: Export, deployment: Deployment) -> None:
    """Write the generated files with this machine's settings."""
    try:
        deployment = export.settings.apply(deployment) if export.settings else deployment
    except ValueError as error:
        raise ExportError(f"the settings do not fit: {error}") from error
    write_repository(export.repository, deployment, export.form.runtime, export.form.precision)


def _relative(source: str) -> str:
    """The relative path of a folder below the working directory."""
    path = Path(source)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    return source
