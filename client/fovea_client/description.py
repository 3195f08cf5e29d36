"""What a deployment does under a verb's name: which members answer, with which weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

_VERB = "verb"
# Behind a slot's name among the parameters of an ensemble, as `fovea.flow` writes it: JSON.
_MEMBER = "_member"


@dataclass(frozen=True)
class MemberDescription:
    """A checkpoint that a deployment serves.

    name: in the deployment. family, role: what it is, and what it can do. fingerprint: another one
    means other weights, whose embeddings cannot be compared with these; "" if it is not known.
    licence: of the weights, as far as it is known. class_names: of a closed set, by class id.
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

    name: that it is asked by. verb: what it does, "embed_text" for one.
    members: by what they do in it: {"embeds": MemberDescription("clip", …)}.
    """

    name: str
    verb: str
    members: Mapping[str, MemberDescription]

    @property
    def fingerprints(self) -> dict[str, str]:
        """Of the members, by what they do, where they are known."""
        return {slot: one.fingerprint for slot, one in self.members.items() if one.fingerprint}

    @classmethod
    def from_parameters(cls, name: str, parameters: Mapping[str, str]) -> Description:
        """Of the parameters of an ensemble's configuration."""
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
