"""The verbs that users call, and the members that each is made of.

| verb | inputs | outputs |
| --- | --- | --- |
| main_object | as detect | LABEL, LABEL_INDEX, LABELS, LABEL_SCORES; detect_and_segment's, n <= 1 |
| detect | IMAGE, TEXT, thresholds | BOXES, SCORES, PHRASES, LABEL_INDICES, WORDS, IMAGE_SIZE |
| segment | IMAGE, POINT_COORDS, POINT_LABELS | MASKS, MASK_SCORES, IMAGE_SIZE |
| detect_and_segment | as detect | those of detect and segment |
| classify | IMAGE, and TEXT or TOP_K | LABELS, LABEL_INDICES, LABEL_SCORES |
| segment_everything | IMAGE, POINTS_PER_SIDE, thresholds, … | segment's, BOXES, STABILITY |
| embed_objects | as segment_everything | its, EMBEDDINGS, PICTURE_EMBEDDING |
| segment_scene | IMAGE, THRESHOLD, WITH_LABEL_MAP | those of `SCENE_SEGMENTS`, IMAGE_SIZE |
| embed_image, embed_text | IMAGE or TEXT | IMAGE_EMBEDS or TEXT_EMBEDS |
| embed_audio, … of `MODALITIES` | AUDIO, … | AUDIO_EMBEDS, … |

A detector of classes takes no TEXT, and only BOX_THRESHOLD.

`fovea.steps.tensors` explains the tensors; IMAGE is encoded bytes, IMAGE_SIZE the picture's
(height, width). `fovea.house` makes the ensembles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fovea.roles import (
    ROLES,
    Classifier,
    Detector,
    Embedder,
    ImageEmbedder,
    MultimodalEmbedder,
    OpenDetector,
    Promptable,
    Role,
    Segmenter,
)

# Slots to be filled, each with a member of one of these roles.
Slots = Mapping[str, tuple[type[Role[Any]], ...]]

_RANKS: Slots = {"ranks": (Embedder,)}
_NAMED: Slots = {"detects": (OpenDetector,)}
_DETECTS: Slots = {"detects": (OpenDetector, Detector)}
_CUTS: Slots = {"cuts": (Promptable,)}

# Inputs of embedders other than pictures and texts; each has a verb.
MODALITIES = ("audio", "depth", "thermal", "imu")

VERBS: Mapping[str, Slots] = {
    "main_object": {**_RANKS, **_NAMED, **_CUTS},
    "detect": _DETECTS,
    "segment": _CUTS,
    "detect_and_segment": {**_DETECTS, **_CUTS},
    "classify": {"classifies": (Classifier, Embedder)},
    "segment_everything": _CUTS,
    "embed_objects": {**_CUTS, "embeds": (ImageEmbedder,)},
    "segment_scene": {"segments": (Segmenter,)},
    "embed_image": {"embeds": (ImageEmbedder,)},
    "embed_text": {"embeds": (Embedder,)},
    **{f"embed_{name}": {"embeds": (MultimodalEmbedder,)} for name in MODALITIES},
}


class InvalidDeployment(ValueError):
    """An invalid deployment: says what was expected, and what came."""


@dataclass(frozen=True)
class Verb:
    """A verb under the user's name for it.

    Attributes:
        name: of the ensemble.
        verb: a key of VERBS.
        members: which member does what, as in (("detects", "owlv2"),).
    """

    name: str
    verb: str
    members: tuple[tuple[str, str], ...]


def verbs_of(table: Mapping[str, Mapping[str, str]]) -> tuple[Verb, ...]:
    """Verbs from name -> slots; `verb` names the kind if the name is another."""
    found = []
    for name, slots in table.items():
        members = tuple((slot, member) for slot, member in slots.items() if slot != "verb")
        found.append(Verb(name, slots.get("verb", name), members))
    return tuple(found)


def check_members(verbs: Iterable[Verb], roles: Mapping[str, str]) -> None:
    """Raise InvalidDeployment unless each verb has the members that it needs.

    roles: by name of the member.
    """
    used: set[str] = set()
    for verb in verbs:
        if verb.verb not in VERBS:
            raise InvalidDeployment(
                f"{verb.name}: expected a verb of {', '.join(VERBS)}, got {verb.verb!r}"
            )
        slots, played = VERBS[verb.verb], dict(verb.members)
        for slot in (*slots, *played):
            _check_slot(verb, slot, roles)
            used.add(played[slot])
    idle = set(roles) - used
    if idle:
        raise InvalidDeployment(f"no verb uses the member {sorted(idle)[0]!r}")


def _check_slot(verb: Verb, slot: str, roles: Mapping[str, str]) -> None:
    """Raise InvalidDeployment unless a verb has this slot, and a member that can fill it."""
    slots, played = VERBS[verb.verb], dict(verb.members)
    if slot not in slots:
        raise InvalidDeployment(f"{verb.name}: {verb.verb} takes {', '.join(slots)}, got {slot!r}")
    if slot not in played:
        raise InvalidDeployment(f"{verb.name}: expected a member as {slot!r}, got none")
    name = played[slot]
    if name not in roles:
        raise InvalidDeployment(
            f"{verb.name}: {slot} = {name!r}, but the members are {', '.join(roles)}"
        )
    fitting = [role for role, kind in ROLES.items() if issubclass(kind, slots[slot])]
    if roles[name] not in fitting:
        raise InvalidDeployment(
            f"{verb.name}: {slot} takes a member of role {' or '.join(fitting)}, "
            f"{name!r} is of role {roles[name]}"
        )
