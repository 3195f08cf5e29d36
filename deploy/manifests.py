"""Renders the Kubernetes overlays and validates them against schemas."""

import functools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from deploy import tools

KUBERNETES = Path(__file__).parent / "kubernetes"
OVERLAYS = tuple(sorted(path.name for path in (KUBERNETES / "overlays").iterdir()))
# The newest and the oldest version that still get fixes upstream.
VERSIONS = ("1.35", "1.37")
Resource = dict[str, Any]

_CUSTOM = json.loads((Path(__file__).parent / "custom-resources.schema.json").read_text())


class InvalidManifest(Exception):
    """A resource breaks its schema; the message names it, the place and the reason."""


def render(overlay: str) -> list[Resource]:
    """The resources of an overlay, as rendered by `kubectl kustomize`."""
    kubectl = tools.find("kubectl") or "kubectl"
    command = [str(kubectl), "kustomize", str(KUBERNETES / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InvalidManifest(f"{overlay}: {done.stderr.strip()}")
    return [resource for resource in yaml.safe_load_all(done.stdout) if resource]


def validate(resource: Resource) -> str:
    """Validate one resource against its schemas, unknown fields included; returns its name.

    Raises:
        InvalidManifest: it breaks one, or there is no schema for its kind.
    """
    return _validate(json.dumps(resource, sort_keys=True))


@functools.cache
def _validate(text: str) -> str:
    """Cached, since overlays share most resources and each check takes a while."""
    resource = json.loads(text)
    name = f"{resource['kind']}/{resource['metadata']['name']}"
    for problem in _problems(resource):
        raise InvalidManifest(f"{name}: {problem}")
    return name


def _problems(resource: Resource) -> Iterator[str]:
    import jsonschema
    import kubernetes_validate

    custom = f"{resource['apiVersion']} {resource['kind']}"
    if custom in _CUSTOM["resources"]:
        schema = {**_CUSTOM["resources"][custom], "$defs": _CUSTOM["$defs"]}
        for error in jsonschema.Draft202012Validator(schema).iter_errors(resource):
            yield f"{error.json_path}: {error.message}"
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(resource, version, strict=True)
        except kubernetes_validate.ValidationError as exc:
            place = ".".join(str(part) for part in exc.path)
            yield f"Kubernetes {version}: {place}: {exc.message}"
        except kubernetes_validate.SchemaNotFoundError as exc:
            yield f"no schema: {exc}"
