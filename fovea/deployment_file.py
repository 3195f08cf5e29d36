"""Deployments as people write them: a TOML file of members, verbs, and how they are served.

[members]
clip = "openai/clip-vit-base-patch32@<revision>"        # a hub id
dino = "./my-detector"                                  # a folder, from this file's own
sam  = { checkpoint = "facebook/sam-vit-base", family = "sam" }

[verbs]
main_object = { ranks = "clip", detects = "dino", cuts = "sam" }
find        = { verb = "detect", detects = "dino" }     # under a name of its own

[serving]
runtime = "tensorrt"
precision = "fp16"
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fovea import families
from fovea.deployment import check_names
from fovea.limits import Limits
from fovea.members import Source
from fovea.verbs import InvalidDeployment, Verb, verbs_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TABLES = ("members", "verbs", "serving", "limits")


@dataclass(frozen=True)
class Serving:
    """What runs the networks, and in which precision, by their names in `export`."""

    runtime: str = "onnxruntime"
    precision: str = "fp32"


@dataclass(frozen=True)
class DeploymentFile:
    """A deployment whose checkpoints are not opened yet.

    Attributes:
        name: of the file.
        members: by name.
    """

    name: str
    members: Mapping[str, Source]
    verbs: tuple[Verb, ...]
    serving: Serving = field(default_factory=Serving)
    limits: Limits = field(default_factory=Limits)

    def with_option(self, member: str, name: str, value: Any) -> DeploymentFile:
        """A copy with one option changed; raises InvalidDeployment for an unknown member."""
        if member not in self.members:
            raise InvalidDeployment(
                f"expected a member of {', '.join(self.members)}, got {member!r}"
            )
        source = self.members[member]
        options = dict(source.options) | {name: value}
        changed = replace(source, options=tuple(sorted(options.items())))
        return replace(self, members={**self.members, member: changed})

    def with_checkpoints(self, checkpoints: Mapping[str, str]) -> DeploymentFile:
        """A copy with other checkpoints; raises InvalidDeployment for an unknown member."""
        unknown = set(checkpoints) - set(self.members)
        if unknown:
            raise InvalidDeployment(
                f"expected members of {', '.join(self.members)}, got {sorted(unknown)}"
            )
        changed = {
            name: replace(source, checkpoint=checkpoints.get(name, source.checkpoint))
            for name, source in self.members.items()
        }
        return replace(self, members=changed)


def read(path: Path) -> DeploymentFile:
    """Read a deployment file; raises InvalidDeployment, which names the file and the error."""
    try:
        data = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidDeployment(f"{path}: expected a TOML file, {error}") from error
    try:
        return _parsed(path, data)
    except InvalidDeployment as error:
        raise InvalidDeployment(f"{path}: {error}") from None


def _parsed(path: Path, data: Mapping[str, Any]) -> DeploymentFile:
    _check_known("tables", data, _TABLES)
    for table in _TABLES:
        if not isinstance(data.get(table, {}), dict):
            raise InvalidDeployment(f"expected a table [{table}], got {data[table]!r}")
    for table in ("members", "verbs"):
        if not data.get(table):
            raise InvalidDeployment(f"expected a table [{table}] with a row or more, got none")
    members = {name: _source(path, name, value) for name, value in data["members"].items()}
    for name, slots in data["verbs"].items():
        if not isinstance(slots, dict) or not all(isinstance(v, str) for v in slots.values()):
            raise InvalidDeployment(
                f'verbs.{name}: expected members by what they do, as in {{ detects = "dino" }}, '
                f"got {slots!r}"
            )
    verbs = verbs_of(data["verbs"])
    check_names([*members, *(verb.name for verb in verbs)])
    return DeploymentFile(
        path.stem,
        members,
        verbs,
        _filled(Serving, "serving", data.get("serving", {})),
        _filled(Limits, "limits", data.get("limits", {})),
    )


def _source(path: Path, name: str, value: Any) -> Source:
    row = {"checkpoint": value} if isinstance(value, str) else value
    if not isinstance(row, dict) or not isinstance(row.get("checkpoint"), str):
        raise InvalidDeployment(
            f"members.{name}: expected a hub id, a folder or a table with one as checkpoint, "
            f"got {value!r}"
        )
    options = {key: item for key, item in row.items() if key not in ("checkpoint", "family")}
    family = row.get("family", "")
    if family and family not in families.registry():
        raise InvalidDeployment(
            f"members.{name}: expected a family of {', '.join(families.registry())}, got {family!r}"
        )
    checkpoint = row["checkpoint"]
    if checkpoint.startswith((".", "/", "~")):
        checkpoint = str((path.parent / Path(checkpoint).expanduser()).resolve())
    return Source(checkpoint, family, tuple(sorted(options.items())))


def _filled(kind: Any, table: str, values: Mapping[str, Any]) -> Any:
    fields = {f.name: type(f.default) for f in dataclasses.fields(kind)}
    _check_known(f"rows in [{table}]", values, fields)
    for name, value in values.items():
        if type(value) is not fields[name]:
            raise InvalidDeployment(
                f"{table}.{name}: expected {fields[name].__name__}, got {value!r}"
            )
    return kind(**values)


def _check_known(what: str, values: Mapping[str, Any], known: Any) -> None:
    unknown = [name for name in values if name not in known]
    if unknown:
        raise InvalidDeployment(f"expected {what} of {', '.join(known)}, got {unknown[0]!r}")
