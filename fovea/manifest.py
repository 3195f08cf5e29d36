"""The manifest of an export."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fovea.deployment import Deployment
from fovea.layout import MANIFEST
from fovea.specs import build


def deployment_of(manifest: Mapping[str, Any]) -> Deployment:
    """The exported deployment; raises KeyError, TypeError and ValueError for another version's."""
    deployment: Deployment = build(Deployment, manifest["deployment"])
    return deployment


def exported_deployment(folder: Path) -> Deployment:
    """`deployment_of` for an export's folder; also raises OSError."""
    return deployment_of(json.loads((folder / MANIFEST).read_text()))
