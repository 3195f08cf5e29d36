"""What is measured: exports of the demo and of full-size stand-ins, and how they are served.

All that the benchmarks know of the deployment's types is here and in `benchmarks.baselines`.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path

from fovea_client import Client
from fovea_server import EmbeddedServer

from demo.served import demo_server
from export.assembly import link_or_copy
from export.deployments import DEPLOYMENTS, Export, Loaded, load, read_deployment, run
from export.network import Network
from export.precision import Precision
from export.repository import write_repository
from export.runtimes import ONNXRUNTIME, Runtime
from export.stand_ins import STAND_IN, stand_in
from fovea.deployment import BatchSizes, Deployment
from fovea.deployment_file import DeploymentFile
from fovea.house import wire
from fovea.machine_settings import MachineSettings
from fovea.manifest import exported_deployment
from fovea.models import FIRST_STEP
from fovea.placement import Placement

CHECKPOINT_SETS = (*DEPLOYMENTS, STAND_IN)
STAND_IN_CHECKPOINTS = Path("build/parity/checkpoints")
# Of the export: batches up to this one are checked, where the networks are of full size.
STAND_IN_MAX_BATCH = 1
# Of the deployments of CLIP, GroundingDINO and SAM, which are what is measured.
CLIP_IMAGE_ENCODER, CLIP_TEXT_ENCODER = "clip_image_encoder", "clip_text_encoder"
GROUNDING_DINO = "grounding_dino"
SAM_IMAGE_ENCODER, SAM_MASK_DECODER = "sam_image_encoder", "sam_mask_decoder"
# Pictures of full size fill a processor one by one, and eight of them take gigabytes.
ONE_BY_ONE = MachineSettings(BatchSizes(networks=((GROUNDING_DINO, 1), (SAM_IMAGE_ENCODER, 1))))
NETWORKS = (
    CLIP_IMAGE_ENCODER,
    CLIP_TEXT_ENCODER,
    GROUNDING_DINO,
    SAM_IMAGE_ENCODER,
    SAM_MASK_DECODER,
)
# main_object's on every picture; labels are embedded once and kept.
PICTURE_NETWORKS = tuple(name for name in NETWORKS if name != CLIP_TEXT_ENCODER)
TIMEOUT_S, EXIT_TIMEOUT_S = 600.0, 5


@dataclass(frozen=True)
class Source:
    """What is exported.

    edge: GroundingDINO's square canvas, or None for the checkpoint's own. serving: settings of the
    machine that will serve it.
    """

    checkpoint_set: str = "demo"
    _: KW_ONLY
    edge: int | None = None
    precision: Precision = "fp32"
    runtime: Runtime = ONNXRUNTIME
    serving: MachineSettings = field(default_factory=MachineSettings)

    @property
    def has_truth(self) -> bool:
        """Are the weights trained on the demo world?"""
        return self.checkpoint_set == "demo"

    def deployment(self) -> DeploymentFile:
        """What the set names; stand-ins are written where they are not there yet."""
        if self.checkpoint_set == STAND_IN:
            chosen = stand_in(STAND_IN_CHECKPOINTS)
        else:
            chosen = read_deployment(self.checkpoint_set)
        if self.edge:
            return chosen.with_option(GROUNDING_DINO, "longest_edge", self.edge)
        return chosen

    @property
    def folder(self) -> Path:
        """Below build/export, one for each combination."""
        parts = [self.checkpoint_set]
        parts += [str(self.edge)] if self.edge else []
        parts += [self.precision] if self.precision != "fp32" else []
        parts += [self.runtime.name] if self.runtime != ONNXRUNTIME else []
        return Path("build/export") / "-".join(parts)


@dataclass(frozen=True)
class Exported:
    """An export with the PyTorch modules that it came from."""

    source: Source
    export: Export
    loaded: Loaded

    @property
    def networks(self) -> list[Network]:
        """All of them, in PyTorch."""
        return self.loaded.networks

    @property
    def tokenizers(self) -> Path:
        """Where the files of both tokenizers are."""
        return self.export.repository / FIRST_STEP / "1"

    def without_hits(self, pictures: int) -> MachineSettings:
        """Its settings with room for half of so many pictures' embeddings by SAM, in float32.

        Asking for all of them in turn, over and over, finds none: the least recent one goes.
        """
        [embedding] = self.loaded.deployment.play("sam").image_network.outputs
        room = pictures // 2 * 4 * math.prod(embedding.shape)
        return replace(self.source.serving, embedding_cache_bytes=room)

    @contextmanager
    def served(
        self, settings: MachineSettings, folder: Path
    ) -> Iterator[tuple[EmbeddedServer, Client]]:
        """On a real Triton under these settings, from a copy in `folder`, and a client of it."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.export.repository, folder, copy_function=link_or_copy)
        form, deployment = self.export.form, settings.apply(exported_deployment(self.export.out))
        write_repository(folder, deployment, form.runtime, form.precision)
        with (
            demo_server(folder, exit_timeout_s=EXIT_TIMEOUT_S) as server,
            Client(server.grpc_url, timeout_s=TIMEOUT_S) as client,
        ):
            yield server, client


def export(source: Source, report: Callable[[str, str], None]) -> Exported:
    """Exported anew only when something changed."""
    full_size = source.checkpoint_set == STAND_IN
    made = Export(
        source.deployment(),
        source.folder,
        report,
        precision=source.precision,
        runtime=source.runtime,
        max_batch=STAND_IN_MAX_BATCH if full_size else None,
        settings=source.serving,
    )
    run(made)
    return Exported(source, made, load(made))


def with_placements(
    deployment: Deployment, settings: MachineSettings, models: tuple[str, ...], **changes: int
) -> MachineSettings:
    """The settings with other placements of some models."""
    wired = wire(deployment)
    specs = {spec.name: spec for spec in wired.networks}
    specs |= {step.model.name: step.model for step in wired.steps}
    placements = {placement.model: placement for placement in settings.placements}
    for model in models:
        before = placements.get(model) or Placement(model, instances=specs[model].instances)
        placements[model] = replace(before, **changes)
    return replace(settings, placements=tuple(placements.values()))


def with_batches(settings: MachineSettings, models: tuple[str, ...], size: int) -> MachineSettings:
    """The settings with another largest batch of some networks."""
    networks = dict(settings.batch_sizes.networks) | dict.fromkeys(models, size)
    sizes = replace(settings.batch_sizes, networks=tuple(networks.items()))
    return replace(settings, batch_sizes=sizes)
