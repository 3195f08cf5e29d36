"""One member: its checkpoint opened, its networks traced, checked and kept for any deployment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from export import engine_parity, families, lower_precision, onnx_files, parity, preprocessing
from export.assembly import aside, exclusive, take_place
from export.checkpoints import Checkpoint
from export.errors import InvalidOption
from export.fingerprint import code_sha256
from export.grid_sample import GridSample
from export.licences import weights_licence
from export.network import Network
from export.precision import Precision
from export.runtimes import ONNXRUNTIME, Runtime
from export.to_onnx import OPSET, to_onnx
from fovea.families import registry as family_registry
from fovea.layout import GRAPH
from fovea.members import Member
from fovea.roles import Role
from fovea.specs import to_json

RECORD = "member.json"
# Each network's graph has a folder named after its part; a single network has no such name.
WHOLE = "network"
PACKAGES = ("torch", "transformers", "onnx", "onnxruntime")
MEMBERS = Path("build/members")

Report = Callable[[str, str], None]


@dataclass(frozen=True)
class Form:
    """The form of the exported networks, whatever the checkpoint.

    grid_sample: how deformable attention samples; None leaves it to the runtime. max_batch: caps
    the batches that are checked, to save memory or time. embedded_bytes: heavier weights lie beside
    the graph.
    """

    precision: Precision = "fp32"
    runtime: Runtime = ONNXRUNTIME
    grid_sample: GridSample | None = None
    max_batch: int | None = None
    embedded_bytes: int = onnx_files.EMBEDDED_BYTES

    def key(self) -> dict[str, Any]:
        """The part that decides the result."""
        return {
            "precision": self.precision,
            "runtime": self.runtime.name,
            "grid_sample": self.grid_sample or self.runtime.grid_sample,
            "max_batch": self.max_batch,
            "embedded_bytes": self.embedded_bytes,
        }


@dataclass(frozen=True)
class Opened:
    """A checkpoint in its role, and its networks."""

    member: Member
    networks: list[Network]

    @property
    def role(self) -> Role[Any]:
        return self.member.play()


@dataclass(frozen=True)
class MemberExport:
    """A checkpoint, its options in the deployment, and the form of its networks.

    Raises InvalidOption for an option that its family does not take.
    """

    checkpoint: Checkpoint
    options: tuple[tuple[str, Any], ...] = ()
    form: Form = field(default_factory=Form)

    def __post_init__(self) -> None:
        known = families.load(self.checkpoint.family).OPTIONS
        _check_options(self.checkpoint, known, dict(self.options))

    def key(self) -> dict[str, Any]:
        """What decides the result: an export with an equal key need not be repeated."""
        return {
            "family": self.checkpoint.family,
            "sha256": self.checkpoint.sha256(),
            "options": dict(self.options),
            **self.form.key(),
            "opset": OPSET,
            "versions": {name: version(name) for name in PACKAGES},
            "code": code_of(self.checkpoint.family),
        }

    def open(self) -> Opened:
        """Read the weights; raises InvalidCheckpoint, UnsupportedProcessor and InvalidOption.

        InvalidOption is for values that do not fit the checkpoint.
        """
        checkpoint, options = self.checkpoint, dict(self.options)
        family = families.load(checkpoint.family)
        model, processor = family.load_model(checkpoint), family.load_processor(checkpoint)
        spec = family.read_spec(checkpoint, model, processor, options)
        licence = weights_licence(checkpoint.family, checkpoint.folder)
        member = Member(checkpoint.name, checkpoint.family, spec, licence=licence)
        role = member.play()
        networks = family.networks(role, model, family.normalization(processor))
        policies = [family.POLICIES[role.part(network.spec.name)] for network in networks]
        pairs = zip(networks, policies, strict=True)
        return Opened(member, [replace(network, policy=policy) for network, policy in pairs])


def code_of(family: str) -> str:
    """Hash of the code that decides how a family's checkpoints are exported."""
    sides = (family_registry()[family], families.registry()[family])
    return code_sha256(*(side.partition(":")[0] for side in sides), "export.members")


@dataclass(frozen=True)
class Exported:
    """A member's files on disk.

    Attributes:
        member: with its fingerprint.
        folder: graphs at `graph(part)`, and the files that steps read.
        record: what was compared, with the results.
    """

    member: Member
    folder: Path
    record: dict[str, Any]

    def graph(self, part: str) -> Path:
        """A network's ONNX file."""
        return graph_path(self.folder, part)


def graph_path(folder: Path, part: str) -> Path:
    """The path of a part's graph; weights beside it are found by its own name."""
    return folder / (part or WHOLE) / GRAPH


def _check_options(
    checkpoint: Checkpoint, known: Mapping[str, type], options: Mapping[str, Any]
) -> None:
    for name, value in options.items():
        if name not in known:
            raise InvalidOption(
                f"{checkpoint.name}: family {checkpoint.family} takes "
                f"{', '.join(known) or 'no options'}, got {name!r}"
            )
        if type(value) is not known[name]:
            raise InvalidOption(
                f"{checkpoint.name}: {name}: expected {known[name].__name__}, got {value!r}"
            )


def export_member(
    export: MemberExport, members: Path = MEMBERS, *, report: Report, force: bool = False
) -> Exported:
    """Export, check and keep a member, or take the kept one with an equal key.

    Raises ParityError on drift, and then keeps nothing.
    """
    key = json.loads(json.dumps(export.key()))
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
    folder = members / f"{export.checkpoint.family}-{name}"
    if not force and (found := _kept(folder, export, key)):
        return found
    with exclusive(members, lambda: report(export.checkpoint.name, "waiting for another export")):
        if not force and (found := _kept(folder, export, key)):
            return found
        with aside(members) as draft:
            record = _make(draft, export, report)
            (draft / RECORD).write_text(json.dumps({"key": key, **record}, indent=1) + "\n")
            take_place(draft, folder)
    made = _kept(folder, export, key)
    assert made is not None, f"{folder} is not what was just written"
    return made


def _kept(folder: Path, export: MemberExport, key: dict[str, Any]) -> Exported | None:
    """The member in a folder, if its key is equal and its files have their recorded sizes."""
    record = read_record(folder / RECORD)
    if record is None or record.get("key") != key:
        return None
    whole = all(
        (folder / name).is_file() and (folder / name).stat().st_size == size
        for name, size in record["files"].items()
    )
    if not whole:
        return None
    licence = weights_licence(export.checkpoint.family, export.checkpoint.folder)
    data = {**record["member"], "name": export.checkpoint.name, "licence": licence}
    return Exported(Member.from_data(data), folder, record)


def read_record(path: Path) -> dict[str, Any] | None:
    """The JSON object that an export writes last; None if it is missing or broken."""
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def _make(folder: Path, export: MemberExport, report: Report) -> dict[str, Any]:
    """Write all files of a member into an empty folder; returns the record."""
    opened = export.open()
    alike = preprocessing.check(export.checkpoint, opened.member, dict(export.options))
    records = [
        _export_network(folder, export.form, opened, network, report) for network in opened.networks
    ]
    for name in opened.role.FILES:
        families.load(opened.member.family).write_file(export.checkpoint, name, folder / name)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    tokenizers = {name: onnx_files.file_sha256(folder / name) for name in opened.role.FILES}
    graphs = {record["part"]: record["sha256"] for record in records}
    content = json.dumps([to_json(opened.member.spec), graphs, tokenizers], sort_keys=True)
    fingerprint = hashlib.sha256(content.encode()).hexdigest()
    return {
        "member": asdict(replace(opened.member, fingerprint=fingerprint)),
        "networks": records,
        "preprocessing": alike,
        "files": {path.relative_to(folder).as_posix(): path.stat().st_size for path in files},
    }


def _export_network(
    folder: Path, form: Form, opened: Opened, network: Network, report: Report
) -> dict[str, Any]:
    """Trace, lower and check one network."""
    name, part = network.spec.name, opened.role.part(network.spec.name)
    policy, path = network.policy, graph_path(folder, part)
    report(name, "tracing")
    to_onnx(
        network,
        path,
        grid_sample=form.grid_sample or form.runtime.grid_sample,
        embedded_bytes=form.embedded_bytes,
    )
    if form.precision == "fp16":
        report(name, "looking for overflow")
        lower_precision.check_range(name, policy, path, network.sample(1, 0))
    precision = lower_precision.lower(policy, path, form.precision, form.embedded_bytes)
    tolerance = policy.tolerance(precision, network.spec.tolerance)
    report(name, "checking parity")
    checked = replace(network, spec=replace(network.spec, tolerance=tolerance))
    agreements = parity.check_network(
        checked,
        path,
        max_batch=form.max_batch,
        open_session=lambda path: form.runtime.open_session(path, precision),
    )
    if form.runtime.needs_engines:
        engine_parity.write_samples(network, path, engine_parity.samples_path(path))
    report(name, "done")
    return {
        "part": part,
        "precision": precision,
        "tolerance": asdict(tolerance),
        "bytes": onnx_files.size(path),
        "sha256": onnx_files.sha256(path),
        "parity": parity.worst(agreements),
    }
