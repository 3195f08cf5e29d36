"""The settings of steps in their configurations, each as JSON in a parameter of its name."""

from __future__ import annotations

from dataclasses import dataclass

from fovea.geometry import Geometry


@dataclass(frozen=True)
class Waiting:
    """When the first step accepts no more.

    timeout_us: how long callers wait by default. backlog: requests that may wait for one model.
    instances: of each network.
    """

    timeout_us: int
    backlog: int
    instances: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Use:
    """What the first step does for a verb.

    sees: names of the geometries that it wants. asks: models that the verb then waits for. checks:
    members that must have room for each label. finds: the member whose grid decoder finds every
    object, with one call per chunk of points.
    """

    verb: str
    sees: tuple[str, ...]
    asks: tuple[str, ...]
    checks: tuple[str, ...]
    finds: str = ""


@dataclass(frozen=True)
class GeometryUse:
    """A geometry, and whether it is a small one, as embedders have."""

    geometry: Geometry
    small: bool
