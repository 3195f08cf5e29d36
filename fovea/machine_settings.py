"""Settings that differ from machine to machine."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fovea.deployment import DECODE_MARGIN, EMBEDDING_CACHE_BYTES, BatchSizes, Deployment
from fovea.house import wire
from fovea.placement import Placement


@dataclass(frozen=True)
class MachineSettings:
    """Sizes, placements and memory; `python -m benchmarks.tune` writes them as JSON."""

    batch_sizes: BatchSizes = field(default_factory=BatchSizes)
    placements: tuple[Placement, ...] = ()
    decode_margin: float = DECODE_MARGIN
    embedding_cache_bytes: int = EMBEDDING_CACHE_BYTES

    def apply(self, deployment: Deployment) -> Deployment:
        """The deployment for this machine. Raises ValueError for a model that is not in it."""
        wired = wire(deployment)
        networks = {spec.name for spec in wired.networks}
        known = networks | {step.model.name for step in wired.steps}
        unknown = {placement.model for placement in self.placements} - known
        unknown |= set(dict(self.batch_sizes.networks)) - networks
        if unknown:
            raise ValueError(f"no model {sorted(unknown)}, the deployment has {sorted(known)}")
        return replace(
            deployment,
            batch_sizes=self.batch_sizes,
            placements=self.placements,
            decode_margin=self.decode_margin,
            embedding_cache_bytes=self.embedding_cache_bytes,
        )
