"""The model repositories that are measured: the demo's, and full-size stand-ins."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fovea_server import EmbeddedServer

from demo.served import demo_server
from export.assembly import link_or_copy
from export.checkpoints import SETS, Checkpoint, find
from export.pipeline import Export, Loaded, load, run
from export.precision import Precision
from export.report import STAND_IN
from export.repository import write_repository
from export.runtimes import ONNXRUNTIME, Runtime
from export.stand_ins import write_stand_ins
from fovea.pipeline import PipelineSpec, Settings

CHECKPOINT_SETS = (*SETS, STAND_IN)
STAND_IN_CHECKPOINTS = Path("build/parity/checkpoints")
# Of the export: batches up to this one are checked, where the networks are of full size.
STAND_IN_MAX_BATCH = 1


@dataclass(frozen=True)
class Source:
    """What is exported.

    edge: GroundingDINO's square canvas, or None for the checkpoint's own. serving: settings of the
    machine that will serve it.
    """

    checkpoint_set: str = "demo"
    edge: int | None = None
    precision: Precision = "fp32"
    runtime: Runtime = ONNXRUNTIME
    serving: Settings | None = None

    @property
    def has_truth(self) -> bool:
        """Are the weights trained on the demo world?"""
        return self.checkpoint_set == "demo"

    def checkpoints(self) -> dict[str, Checkpoint]:
        """The three; stand-ins are written where they are not there yet."""
        full_size = self.checkpoint_set == STAND_IN
        sources = write_stand_ins(STAND_IN_CHECKPOINTS) if full_size else SETS[self.checkpoint_set]
        return {family: find(family, source) for family, source in sources.items()}

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
    def folder_of_checkpoints(self) -> Path:
        """Where `clip`, `grounding_dino` and `sam` are."""
        return self.export.checkpoints["clip"].folder.parent


def export(source: Source, report: Callable[[str, str], None]) -> Exported:
    """Exported anew only when something changed."""
    checkpoints = source.checkpoints()
    full_size = source.checkpoint_set == STAND_IN
    made = Export(
        checkpoints,
        source.folder,
        source.edge,
        report,
        source.precision,
        source.runtime,
        max_batch=STAND_IN_MAX_BATCH if full_size else None,
        settings=source.serving,
    )
    run(made)
    return Exported(source, made, load(checkpoints, source.edge))


@contextmanager
def served_with(
    settings: Settings, made: Export, pipeline: PipelineSpec, folder: Path, **options: Any
) -> Iterator[EmbeddedServer]:
    """The export under other settings, in `folder`; options: more of ServerOptions."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made.repository, folder, copy_function=link_or_copy)
    write_repository(folder, settings.apply(pipeline), made.runtime, made.precision)
    with demo_server(folder, **options) as server:
        yield server
