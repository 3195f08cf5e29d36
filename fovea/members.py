"""A member: one checkpoint in one role, under the user's name for it; and its source."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fovea import families
from fovea.roles import Role
from fovea.specs import build

# It becomes part of Triton's model names, of file names and of metrics' labels.
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Source:
    """Where a member comes from.

    Attributes:
        checkpoint: a hub id, perhaps "id@revision", or a folder.
        family: of `fovea.families`; "" leaves it to the checkpoint.
        options: of the family, as (name, value).
    """

    checkpoint: str
    family: str = ""
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Member:
    """What steps, configurations and clients need to know about a checkpoint.

    Attributes:
        name: the user's.
        family: a key of `fovea.families.FAMILIES`.
        spec: of the family's type.
        fingerprint: of the exported graphs, the tokenizer and the spec. They decide the member's
            answers, so caches of its answers are kept under it. "" before the export.
        licence: of the weights, if known.
    """

    name: str
    family: str
    spec: Any
    fingerprint: str = ""
    licence: str = ""

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Member:
        """The inverse of `dataclasses.asdict`."""
        spec = build(families.load(data["family"]).Spec, data["spec"])
        return cls(data["name"], data["family"], spec, data["fingerprint"], data.get("licence", ""))

    def play(self) -> Role[Any]:
        """The member in its role."""
        return families.load(self.family)(self.name, self.spec)
