"""Three checkpoints to a model repository: read, trace, check, write, record."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from export import clip, engine_parity, grounding_dino, lower_precision, parity, sam
from export.checkpoints import Checkpoint
from export.errors import ExportError, UnsupportedPrecision
from export.grid_sample import GridSample
from export.network import Network
from export.precision import POLICIES, Precision
from export.repository import onnx_path, place_tokenizers, write_repository
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
    """Export, check and write; returns the manifest. Raises ParityError on drift.

    An export whose manifest is there with an equal request is left as it is. The manifest is
    written last, so an export that stopped half way is never taken for a whole one.
    """
    manifest_path = export.out / MANIFEST
    request = export.request()
    if not force and manifest_path.is_file():
        manifest = json.loads(manifest_path.read_text())
        if manifest["request"] == request:
            _write_configs(export, from_json(PipelineSpec, json.dumps(manifest["pipeline"])))
            return manifest
    manifest_path.unlink(missing_ok=True)
    loaded = load(export.checkpoints, export.grounding_dino_edge)
    pipeline = export.runtime.limit(loaded.pipeline)
    _write_configs(export, pipeline)
    records = [_export_network(export, network) for network in loaded.networks]
    place_tokenizers(
        export.repository,
        pipeline,
        {
            CLIP_TOKENIZER: export.checkpoints["clip"].tokenizer,
            CAPTION_TOKENIZER: export.checkpoints["grounding_dino"].tokenizer,
        },
    )
    manifest = {
        "request": request,
        "networks": records,
        "pipeline": json.loads(to_json(pipeline)),
    }
    manifest_path.write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def _write_configs(export: Export, pipeline: PipelineSpec) -> None:
    try:
        pipeline = export.settings.apply(pipeline) if export.settings else pipeline
    except ValueError as error:
        raise ExportError(f"the settings do not fit: {error}") from error
    write_repository(export.repository, pipeline, export.runtime, export.precision)


def _export_network(export: Export, network: Network) -> dict[str, Any]:
    """Trace and check one network; its model.onnx is there only when it agrees."""
    name = network.spec.name
    path = export.onnx_path(name)
    with _replacing(path) as draft:
        export.report(name, "tracing")
        to_onnx(network, draft, grid_sample=export.grid_sample or export.runtime.grid_sample)
        if export.precision == "fp16":
            export.report(name, "looking for overflow")
            lower_precision.check_range(name, draft, network.sample(1, 0))
        precision = lower_precision.lower(name, draft, export.precision)
        tolerance = POLICIES[name].tolerance(precision, network.spec.tolerance)
        export.report(name, "checking parity")
        checked = replace(network, spec=replace(network.spec, tolerance=tolerance))
        agreements = parity.check_network(
            checked,
            draft,
            max_batch=export.max_batch,
            open_session=lambda path: export.runtime.open_session(path, precision),
        )
        if export.runtime.needs_engines:
            engine_parity.write_samples(network, draft, engine_parity.samples_path(path))
    export.report(name, "done")
    return {
        "name": name,
        "precision": precision,
        "tolerance": asdict(tolerance),
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "parity": parity.worst(agreements),
    }


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A draft that takes the place of `path` only if the block succeeds."""
    draft = path.with_name(f"draft.{os.getpid()}.onnx")
    draft.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


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
