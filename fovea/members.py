"""A member: one checkpoint in one role, under the user's name for it; and where it comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fovea import families
from fovea.roles import Role
from fovea.specs import build

# Parts of Triton's model names, of files and of metrics' labels.
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Source:
    """Where a member comes from.

    Attributes:
        checkpoint: a hub id, perhaps "id@revision", or a folder.
        family: of `fovea.families`; "" is what the checkpoint itself says.
        options: of the family, as (name, value).
    """

    checkpoint: str
    family: str = ""
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Member:
    """What steps, configurations and clients must know of a checkpoint.

    Attributes:
        name: the user's.
        family: a key of `fovea.families.FAMILIES`.
        spec: of the family's type.
        fingerprint: of the exported graphs, the tokenizer and the spec: what the member answers
            follows from it, and so what others keep of its answers is kept under it. "" before the
            export.
        licence: of the weights, as far as it is known.
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
