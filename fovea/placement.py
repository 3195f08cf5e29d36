"""How models are placed on a machine's cores, as chosen by `benchmarks.tune`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fovea.specs import ModelSpec

THREADS = "intra_op_thread_count"


@dataclass(frozen=True)
class Placement:
    """One model's placement.

    instances: processes that run it. threads: of each instance of a network; 0 uses one per core.
    delay_us: how long its batcher may wait for a fuller batch.
    """

    model: str
    instances: int = 1
    threads: int = 0
    delay_us: int = 0


def placed(spec: ModelSpec, placements: tuple[Placement, ...]) -> ModelSpec:
    """`spec` with its placement; unchanged without one."""
    found = next((p for p in placements if p.model == spec.name), None)
    if found is None:
        return spec
    threads = ((THREADS, str(found.threads)),) if found.threads else ()
    return replace(
        spec,
        instances=found.instances,
        parameters=(*spec.parameters, *threads),
        queue=replace(spec.queue, delay_us=found.delay_us),
    )
