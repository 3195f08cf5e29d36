"""The differences between a server in a container and an embedded one."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Protocol

from deploy.smoke.run import Figures


class Host(Protocol):
    """Starts one server at a time, and does what only the server's own machine can do to it.

    Attributes:
        device: "gpu" or "cpu", where the networks must run.
    """

    device: str

    def preflight(self) -> Figures:
        """What the machine has; raises StepFailed with everything that it lacks."""

    def build_images(self) -> Figures:
        """Build the images; raises StepSkipped if there are none."""

    def export(self) -> Path:
        """The demo's model repository."""

    def build_engines(self) -> tuple[Path, Figures]:
        """A model repository of engines; raises StepSkipped if none can be built."""

    def serve(self, repository: Path) -> str:
        """Start a server; returns its gRPC address once it is ready."""

    def metrics(self) -> str:
        """The server's metrics in Prometheus' text format."""

    def stub_of(self, model: str) -> int | None:
        """Process id of a living backend process of a Python model; None without one."""

    def kill(self, pid: int) -> None:
        """`kill -9` of a process of the server."""

    def stop(self) -> Figures:
        """Stop the server in good order; does nothing if none runs."""

    def clean_up(self) -> None:
        """Leave nothing behind, however the run ended."""


_SAMPLE = re.compile(r"^(\w+)\{([^}]*)\} ([0-9.eE+-]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


def by_model(metrics: str, name: str, label: str = "") -> dict[str, float]:
    """Sums of one metric per model, over all series or only those that have a label."""
    sums: Counter[str] = Counter()
    for found, text, value in _SAMPLE.findall(metrics):
        labels = dict(_LABEL.findall(text))
        if found == name and "model" in labels and (not label or label in labels):
            sums[labels["model"]] += float(value)
    return dict(sums)
