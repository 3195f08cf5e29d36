"""What an export writes down of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fovea.deployment import Deployment
from fovea.layout import MANIFEST
from fovea.specs import build


def deployment_of(manifest: Mapping[str, Any]) -> Deployment:
    """The deployment that was exported; raises KeyError, TypeError and ValueError for another's."""
    deployment: Deployment = build(Deployment, manifest["deployment"])
    return deployment


def exported_deployment(folder: Path) -> Deployment:
    """As `deployment_of`, of an export's folder; raises OSError, too."""
    return deployment_of(json.loads((folder / MANIFEST).read_text()))
