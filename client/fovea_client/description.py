"""Describes a deployment's verbs: their members, and those members' weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_VERB = "verb"
# Suffix of a slot's name among an ensemble's parameters, as `fovea.flow` writes it: JSON.
_MEMBER = "_member"


@dataclass(frozen=True)
class MemberDescription:
    """A checkpoint that a deployment serves.

    name: in the deployment. family, role: what it is, and what it can do. fingerprint: changes with
    the weights, whose embeddings cannot be compared with others'; "" if unknown. licence: of the
    weights, if known. class_names: of a closed set, by class id.
    """

    name: str
    family: str
    role: str
    fingerprint: str = ""
    licence: str = ""
    class_names: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self) | {"class_names": list(self.class_names)}


@dataclass(frozen=True)
class Description:
    """A verb of a deployment.

    name: the one to call it by. verb: what it does, such as "embed_text".
    members: by what they do in it: {"embeds": MemberDescription("clip", …)}.
    """

    name: str
    verb: str
    members: Mapping[str, MemberDescription]

    @property
    def fingerprints(self) -> dict[str, str]:
        """The members' fingerprints by what they do, if known."""
        return {slot: one.fingerprint for slot, one in self.members.items() if one.fingerprint}

    @classmethod
    def from_parameters(cls, name: str, parameters: Mapping[str, str]) -> Description:
        """Read the parameters of an ensemble's configuration."""
        members = {
            key.removesuffix(_MEMBER): _member(json.loads(parameters[key]))
            for key in sorted(parameters)
            if key.endswith(_MEMBER)
        }
        return cls(name, parameters.get(_VERB, name), members)

    @staticmethod
    def is_verb(parameters: Mapping[str, str]) -> bool:
        """Whether a model with these parameters is a verb, not a part of one."""
        return _VERB in parameters

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; members by name."""
        members = {slot: member.name for slot, member in self.members.items()}
        return {"name": self.name, "verb": self.verb, "members": members}


def _member(data: Mapping[str, Any]) -> MemberDescription:
    return MemberDescription(**{**data, "class_names": tuple(data["class_names"])})
