"""The names of a deployment's models, for rules, their tests and the dashboard."""

import functools
from pathlib import Path

from export.production import production_deployment
from fovea.house import Wired, wire
from fovea.manifest import exported_deployment


class ModelNames:
    """The names of the models of a deployment.

    Attributes:
        verbs: the ensembles, which users call.
        networks: the models that run on a GPU if there is one.
        all: every model of a complete server.
    """

    def __init__(self, wired: Wired) -> None:
        self.verbs = tuple(spec.name for spec in wired.ensembles)
        self.networks = tuple(spec.name for spec in wired.networks)
        steps = tuple(step.model.name for step in wired.steps)
        self.all = (*self.verbs, *self.networks, *steps)


@functools.cache
def production() -> ModelNames:
    """Names of the production deployment."""
    return ModelNames(wire(production_deployment()))


def exported(folder: Path) -> ModelNames:
    """Names of the deployment that was exported into a folder."""
    return ModelNames(wire(exported_deployment(folder)))
