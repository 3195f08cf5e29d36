"""What a deployment does under a verb's name: who plays in it, and from which weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Behind a slot's name among the parameters of an ensemble, as `fovea.flow` writes them.
_FINGERPRINT = "_fingerprint"
_VERB = "verb"


@dataclass(frozen=True)
class Description:
    """A verb of a deployment.

    name: that it is asked by. verb: what it does, "embed_text" for one.
    members: the deployment's names of them by what they do: {"embeds": "clip"}.
    fingerprints: theirs, by the same: another one means other weights, whose embeddings cannot be
    compared with these.
    """

    name: str
    verb: str
    members: Mapping[str, str]
    fingerprints: Mapping[str, str]

    @classmethod
    def from_parameters(cls, name: str, parameters: Mapping[str, str]) -> Description:
        """Of the parameters of an ensemble's configuration."""
        ends = {slot for slot in parameters if slot.endswith(_FINGERPRINT)}
        members = {k: v for k, v in parameters.items() if k not in ends and k != _VERB}
        fingerprints = {slot.removesuffix(_FINGERPRINT): parameters[slot] for slot in sorted(ends)}
        return cls(name, parameters.get(_VERB, name), members, fingerprints)
