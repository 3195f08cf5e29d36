"""Three checkpoints to a model repository: read, trace, check, write, record."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from export import (
    clip,
    engine_parity,
    grounding_dino,
    lower_precision,
    onnx_files,
    parity,
    preprocessing,
    sam,
)
from export.assembly import aside, exclusive, take_place
from export.checkpoints import Checkpoint
from export.checksums import write_checksums
from export.errors import ExportError, UnsupportedPrecision
from export.grid_sample import GridSample
from export.network import Network
from export.precision import POLICIES, Precision
from export.repository import (
    carry_over,
    holds_generated,
    model_names,
    onnx_path,
    place_tokenizers,
    write_repository,
)
from export.runtimes import ONNXRUNTIME, Runtime
from export.to_onnx import OPSET, to_onnx
from fovea.pipeline import PipelineSpec, Settings
from fovea.specs import from_json, to_json
from fovea.steps import CAPTION_TOKENIZER, CLIP_TOKENIZER

MANIFEST = "manifest.json"
PACKAGES = ("torch", "transformers", "onnx", "onnxruntime", "fovea")


@dataclass(frozen=True)
class Loaded:
    """The pipeline that three checkpoints make, and its five networks."""

    pipeline: PipelineSpec
    networks: list[Network]


@dataclass(frozen=True)
class Export:
    """What to export where. `report` is told of each step: (network, what).

    grid_sample: how deformable attention samples; None is the runtime's choice. max_batch: check
    no batch above it, where memory or time does not allow the specs' own. settings: of the machine
    that will serve; they go into the configurations only, so changing them exports nothing anew.
    """

    checkpoints: dict[str, Checkpoint]
    out: Path
    grounding_dino_edge: int | None = None
    report: Callable[[str, str], None] = field(default=lambda network, what: None)
    precision: Precision = "fp32"
    runtime: Runtime = ONNXRUNTIME
    grid_sample: GridSample | None = None
    max_batch: int | None = None
    settings: Settings | None = None
    embedded_bytes: int = onnx_files.EMBEDDED_BYTES

    def __post_init__(self) -> None:
        if self.precision not in self.runtime.precisions:
            raise UnsupportedPrecision(
                f"runtime {self.runtime.name} runs {', '.join(self.runtime.precisions)}, "
                f"got {self.precision}"
            )

    @property
    def repository(self) -> Path:
        return self.out / "model_repository"

    def onnx_path(self, network: str) -> Path:
        """Within the repository, or beside it where engines take the place of the graphs."""
        if self.runtime.needs_engines:
            return self.out / "onnx" / f"{network}.onnx"
        return onnx_path(self.repository, network)

    def request(self) -> dict[str, Any]:
        """What decides the result: an export with an equal request need not be done again."""
        return {
            "checkpoints": {
                family: {
                    "source": _relative(checkpoint.source),
                    "revision": checkpoint.revision,
                    "sha256": checkpoint.sha256(),
                }
                for family, checkpoint in self.checkpoints.items()
            },
            "grounding_dino_edge": self.grounding_dino_edge,
            "precision": self.precision,
            "runtime": self.runtime.name,
            "grid_sample": self.grid_sample or self.runtime.grid_sample,
            "max_batch": self.max_batch,
            "embedded_bytes": self.embedded_bytes,
            "opset": OPSET,
            "versions": {name: version(name) for name in PACKAGES},
            "code": _code_sha256(),
        }


def load(checkpoints: dict[str, Checkpoint], grounding_dino_edge: int | None = None) -> Loaded:
    """Load three checkpoints and wrap their networks."""
    clip_model = checkpoints["clip"].load_model()
    dino_model = checkpoints["grounding_dino"].load_model()
    sam_model = checkpoints["sam"].load_model()
    pipeline = PipelineSpec(
        clip=clip.read_spec(
            clip_model.config,
            checkpoints["clip"].load_image_processor(),
            checkpoints["clip"].token_id("<pad>", "<|endoftext|>"),
            float(clip_model.logit_scale.exp()),
        ),
        grounding_dino=grounding_dino.read_spec(
            dino_model.config,
            checkpoints["grounding_dino"].load_image_processor(),
            checkpoints["grounding_dino"].token_id("[PAD]"),
            grounding_dino_edge,
        ),
        sam=sam.read_spec(sam_model.config, checkpoints["sam"].load_image_processor()),
    )
    networks = [
        *clip.networks(clip_model, pipeline),
        *grounding_dino.networks(dino_model, pipeline),
        *sam.networks(sam_model, pipeline),
    ]
    return Loaded(pipeline, networks)


def run(export: Export, *, force: bool = False) -> dict[str, Any]:
    """Export, check and place; returns the manifest. Raises ParityError on drift.

    An export whose manifest is there with an equal request is left as it is. Anything new is
    assembled aside, whole, before it takes the place of what was there: a failure leaves that
    untouched, and a server that has it mounted never sees half of the one and half of the other.
    """
    request = export.request()
    found = None if force else _reusable(export, request)
    if found and _has_configs(export, found):
        return found
    with exclusive(export.out, lambda: export.report("export", "waiting for another one")):
        found = None if force else _reusable(export, request)  # perhaps the other one made it
        with aside(export.out) as folder:
            draft = replace(export, out=folder)
            if found:
                _write_configs(draft, _pipeline(found), found["networks"])
                carry_over(export.repository, draft.repository, model_names(_pipeline(found)))
                take_place(draft.repository, export.repository)
                return found
            manifest = _assemble(draft, export, request)
            (export.out / MANIFEST).unlink(missing_ok=True)
            for part in sorted(path for path in folder.iterdir() if path.is_dir()):
                take_place(part, export.out / part.name)
            (folder / MANIFEST).replace(export.out / MANIFEST)
            return manifest


def _reusable(export: Export, request: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest of an equal export whose files are all there, in the sizes that they had."""
    path = export.out / MANIFEST
    if not path.is_file():
        return None
    manifest: dict[str, Any] = json.loads(path.read_text())
    if manifest["request"] != request:
        return None
    files = ((export.repository / name, kept["bytes"]) for name, kept in manifest["files"].items())
    whole = all(path.is_file() and path.stat().st_size == bytes_ for path, bytes_ in files)
    return manifest if whole else None


def _has_configs(export: Export, manifest: dict[str, Any]) -> bool:
    """Are the generated files there as this machine's settings want them?"""
    with tempfile.TemporaryDirectory() as folder:
        draft = replace(export, out=Path(folder))
        _write_configs(draft, _pipeline(manifest), manifest["networks"])
        return holds_generated(export.repository, draft.repository)


def _pipeline(manifest: dict[str, Any]) -> PipelineSpec:
    return from_json(PipelineSpec, json.dumps(manifest["pipeline"]))


def _assemble(draft: Export, former: Export, request: dict[str, Any]) -> dict[str, Any]:
    """Write a whole export where `draft` says, the manifest last; `former` is what it replaces."""
    loaded = load(draft.checkpoints, draft.grounding_dino_edge)
    pipeline = draft.runtime.limit(loaded.pipeline)
    alike = preprocessing.check(draft.checkpoints, pipeline, draft.grounding_dino_edge)
    _write_configs(draft, pipeline, [])  # settings that do not fit are an error at once
    records = [_export_network(draft, network) for network in loaded.networks]
    _write_configs(draft, pipeline, records)
    place_tokenizers(
        draft.repository,
        pipeline,
        {
            CLIP_TOKENIZER: draft.checkpoints["clip"].tokenizer,
            CAPTION_TOKENIZER: draft.checkpoints["grounding_dino"].tokenizer,
        },
    )
    carry_over(former.repository, draft.repository, _with_equal_graphs(draft, former, records))
    manifest = {
        "request": request,
        "networks": records,
        "preprocessing": alike,
        "files": write_checksums(draft.repository, model_names(pipeline)),
        "pipeline": json.loads(to_json(pipeline)),
    }
    (draft.out / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def _with_equal_graphs(draft: Export, former: Export, records: list[dict[str, Any]]) -> list[str]:
    """Networks whose former graph is the new one: engines that were built from it stay."""
    if not draft.runtime.needs_engines:
        return []
    return [
        record["name"]
        for record in records
        if former.onnx_path(record["name"]).is_file()
        and onnx_files.sha256(former.onnx_path(record["name"])) == record["sha256"]
    ]


def _write_configs(
    export: Export, pipeline: PipelineSpec, records: Iterable[Mapping[str, Any]]
) -> None:
    """The generated files; `records` of the networks, of which they name the weights."""
    try:
        pipeline = export.settings.apply(pipeline) if export.settings else pipeline
    except ValueError as error:
        raise ExportError(f"the settings do not fit: {error}") from error
    weights = {record["name"]: record["sha256"] for record in records}
    write_repository(export.repository, pipeline, export.runtime, export.precision, weights)


def _export_network(export: Export, network: Network) -> dict[str, Any]:
    """Trace, lower and check one network."""
    name = network.spec.name
    path = export.onnx_path(name)
    export.report(name, "tracing")
    to_onnx(
        network,
        path,
        grid_sample=export.grid_sample or export.runtime.grid_sample,
        embedded_bytes=export.embedded_bytes,
    )
    if export.precision == "fp16":
        export.report(name, "looking for overflow")
        lower_precision.check_range(name, path, network.sample(1, 0))
    precision = lower_precision.lower(name, path, export.precision, export.embedded_bytes)
    tolerance = POLICIES[name].tolerance(precision, network.spec.tolerance)
    export.report(name, "checking parity")
    checked = replace(network, spec=replace(network.spec, tolerance=tolerance))
    agreements = parity.check_network(
        checked,
        path,
        max_batch=export.max_batch,
        open_session=lambda path: export.runtime.open_session(path, precision),
    )
    if export.runtime.needs_engines:
        engine_parity.write_samples(network, path, engine_parity.samples_path(path))
    export.report(name, "done")
    return {
        "name": name,
        "precision": precision,
        "tolerance": asdict(tolerance),
        "bytes": onnx_files.size(path),
        "sha256": onnx_files.sha256(path),
        "parity": parity.worst(agreements),
    }


def _code_sha256() -> str:
    """Of the code that decides what is exported: this folder and the contract."""
    root = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted([*root.glob("*.py"), *(root.parent / "fovea").glob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _relative(source: str) -> str:
    """A folder below the working directory by its relative path."""
    path = Path(source)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        return str(path.relative_to(Path.cwd()))
    return source
