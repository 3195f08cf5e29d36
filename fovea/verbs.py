"""The verbs that users call: each is an ensemble, made of members by a function.

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

A detector of classes takes no TEXT, and BOX_THRESHOLD alone.

`fovea.steps.tensors` says what the tensors are; IMAGE is encoded bytes, IMAGE_SIZE the picture's
(height, width). Triton runs a step as soon as its inputs are there, so a promptable member's
encoder runs beside the embedder and the detector. The first step takes all that a caller sends and
checks it, so that what is wrong is refused before anything else runs.

Only segment, which people call again and again for one picture, keeps embeddings of pictures: for
the others a copy to the CPU and back would be in vain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fovea.deployment import InvalidDeployment, Verb
from fovea.flow import IMAGE_SIZE, Flow, sent_back
from fovea.house import House
from fovea.roles import (
    ROLES,
    AnyDetector,
    Classifier,
    Detector,
    Embedder,
    ImageEmbedder,
    OpenDetector,
    Promptable,
    Role,
    Segmenter,
)
from fovea.specs import EnsembleSpec, TensorSpec
from fovea.steps.tensors import (
    BOX_THRESHOLD,
    CLASSES,
    IMAGE,
    LABEL_RANKS,
    MASKS,
    OBJECT_SETTINGS,
    OBJECTS,
    ONE_TEXT,
    SCENE_SEGMENTS,
    SELECTED_BOXES,
    SENT_COORDS,
    SENT_LABELS,
    TEXT,
    TEXT_THRESHOLD,
    THRESHOLD,
    TOP_K,
    WITH_LABEL_MAP,
)

DETECT_INPUTS = (IMAGE, TEXT, BOX_THRESHOLD, TEXT_THRESHOLD)
CLASS_INPUTS = (IMAGE, BOX_THRESHOLD)
LABEL_OUTPUTS = sent_back(LABEL_RANKS)
DETECT_OUTPUTS = sent_back(SELECTED_BOXES)
MASK_OUTPUTS = sent_back(MASKS)
CLASS_OUTPUTS = sent_back(CLASSES)
OBJECT_OUTPUTS = sent_back(OBJECTS)
SCENE_OUTPUTS = sent_back(SCENE_SEGMENTS)


def _main_object(
    house: House,
    verb: Verb,
    ranks: Embedder[Any],
    detects: OpenDetector[Any],
    cuts: Promptable[Any],
) -> EnsembleSpec:
    flow = Flow(house, verb, DETECT_INPUTS)
    asks = [
        *ranks.networks,
        house.rank(ranks, detects),
        *detects.networks,
        cuts.image_network,
        cuts.decoder,
    ]
    flow.prepare(ranks, detects, cuts, checks=(detects, ranks), asks=asks)
    flow.embed_image(ranks)
    flow.rank(ranks, detects)
    flow.detect(detects, main=True, prompts=True)
    flow.encode(cuts)
    flow.masks(cuts)
    return flow.end((*LABEL_OUTPUTS, *DETECT_OUTPUTS, *MASK_OUTPUTS, IMAGE_SIZE))


def _detect_inputs(detects: AnyDetector) -> tuple[TensorSpec, ...]:
    return DETECT_INPUTS if isinstance(detects, OpenDetector) else CLASS_INPUTS


def _detect(house: House, verb: Verb, detects: AnyDetector) -> EnsembleSpec:
    flow = Flow(house, verb, _detect_inputs(detects))
    flow.prepare(detects, writes=detects, asks=detects.networks)
    flow.detect(detects, main=False, prompts=False)
    return flow.end((*DETECT_OUTPUTS, IMAGE_SIZE))


def _segment(house: House, verb: Verb, cuts: Promptable[Any]) -> EnsembleSpec:
    flow = Flow(house, verb, (IMAGE, SENT_COORDS, SENT_LABELS))
    flow.prepare(cuts, asks=(house.encode(cuts), cuts.image_network, cuts.decoder))
    flow.encode(cuts, keep=True)
    flow.masks(cuts)
    return flow.end((*MASK_OUTPUTS, IMAGE_SIZE))


def _detect_and_segment(
    house: House, verb: Verb, detects: AnyDetector, cuts: Promptable[Any]
) -> EnsembleSpec:
    flow = Flow(house, verb, _detect_inputs(detects))
    flow.prepare(
        detects, cuts, writes=detects, asks=(*detects.networks, cuts.image_network, cuts.decoder)
    )
    flow.detect(detects, main=False, prompts=True)
    flow.encode(cuts)
    flow.masks(cuts)
    return flow.end((*DETECT_OUTPUTS, *MASK_OUTPUTS, IMAGE_SIZE))


def _classify(
    house: House, verb: Verb, classifies: Classifier[Any] | Embedder[Any]
) -> EnsembleSpec:
    if isinstance(classifies, Embedder):
        flow = Flow(house, verb, (IMAGE, TEXT))
        asks = (*classifies.networks, house.rank_classes(classifies))
        flow.prepare(classifies, checks=(classifies,), asks=asks, size=False)
    else:
        flow = Flow(house, verb, (IMAGE, TOP_K))
        flow.prepare(classifies, asks=classifies.networks, size=False)
    flow.classify(classifies)
    return flow.end(CLASS_OUTPUTS)


def _segment_scene(house: House, verb: Verb, segments: Segmenter[Any]) -> EnsembleSpec:
    flow = Flow(house, verb, (IMAGE, THRESHOLD, WITH_LABEL_MAP))
    flow.prepare(segments, asks=segments.networks)
    flow.segments(segments)
    return flow.end((*SCENE_OUTPUTS, IMAGE_SIZE))


def _embed_image(house: House, verb: Verb, embeds: ImageEmbedder[Any]) -> EnsembleSpec:
    flow = Flow(house, verb, (IMAGE,))
    flow.prepare(embeds, asks=(embeds.image_network,), size=False)
    flow.embed_image(embeds, "IMAGE_EMBEDS")
    return flow.end((TensorSpec("IMAGE_EMBEDS", "FP32", (embeds.embed_dim,)),), batches=True)


def _embed_text(house: House, verb: Verb, embeds: Embedder[Any]) -> EnsembleSpec:
    flow = Flow(house, verb, (ONE_TEXT,))
    flow.embed_text(embeds, "TEXT_EMBEDS")
    return flow.end((TensorSpec("TEXT_EMBEDS", "FP32", (embeds.embed_dim,)),), batches=True)


def _segment_everything(house: House, verb: Verb, cuts: Promptable[Any]) -> EnsembleSpec:
    flow = Flow(house, verb, (IMAGE, *OBJECT_SETTINGS))
    flow.prepare(cuts, asks=(cuts.image_network,), finds=cuts)
    flow.encode(cuts)
    flow.objects(cuts)
    return flow.end((*OBJECT_OUTPUTS, IMAGE_SIZE))


def _embed_objects(
    house: House, verb: Verb, cuts: Promptable[Any], embeds: ImageEmbedder[Any]
) -> EnsembleSpec:
    flow = Flow(house, verb, (IMAGE, *OBJECT_SETTINGS))
    asks = (cuts.image_network, embeds.image_network)
    flow.prepare(cuts, embeds, asks=asks, finds=cuts, picture=True)
    flow.embed_image(embeds, "PICTURE_EMBEDDING")
    flow.encode(cuts)
    flow.objects(cuts, embeds)
    vectors = (
        TensorSpec("EMBEDDINGS", "FP32", (-1, embeds.embed_dim)),
        TensorSpec("PICTURE_EMBEDDING", "FP32", (embeds.embed_dim,)),
    )
    return flow.end((*OBJECT_OUTPUTS, *vectors, IMAGE_SIZE))


@dataclass(frozen=True)
class Kind:
    """A verb that a deployment may have.

    Attributes:
        slots: what must be filled, each with a member of one of these roles.
        wire: makes the ensemble of the members in the order of the slots.
    """

    slots: Mapping[str, tuple[type[Role[Any]], ...]]
    wire: Callable[..., EnsembleSpec]


_RANKS = {"ranks": (Embedder,)}
_NAMED = {"detects": (OpenDetector,)}
_DETECTS = {"detects": (OpenDetector, Detector)}
_CUTS = {"cuts": (Promptable,)}

VERBS: Mapping[str, Kind] = {
    "main_object": Kind({**_RANKS, **_NAMED, **_CUTS}, _main_object),
    "detect": Kind(_DETECTS, _detect),
    "segment": Kind(_CUTS, _segment),
    "detect_and_segment": Kind({**_DETECTS, **_CUTS}, _detect_and_segment),
    "classify": Kind({"classifies": (Classifier, Embedder)}, _classify),
    "segment_everything": Kind(_CUTS, _segment_everything),
    "embed_objects": Kind({**_CUTS, "embeds": (ImageEmbedder,)}, _embed_objects),
    "segment_scene": Kind({"segments": (Segmenter,)}, _segment_scene),
    "embed_image": Kind({"embeds": (ImageEmbedder,)}, _embed_image),
    "embed_text": Kind({"embeds": (Embedder,)}, _embed_text),
}


def wire_verb(house: House, verb: Verb) -> EnsembleSpec:
    """A verb's ensemble, of a deployment that was checked."""
    kind, played = VERBS[verb.verb], dict(verb.members)
    return kind.wire(house, verb, *(house.roles[played[slot]] for slot in kind.slots))


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
        slots, played = VERBS[verb.verb].slots, dict(verb.members)
        for slot in (*slots, *played):
            _check_slot(verb, slot, roles)
            used.add(played[slot])
    idle = set(roles) - used
    if idle:
        raise InvalidDeployment(f"no verb uses the member {sorted(idle)[0]!r}")


def _check_slot(verb: Verb, slot: str, roles: Mapping[str, str]) -> None:
    """Raise InvalidDeployment unless a verb has this slot, and a member that can fill it."""
    slots, played = VERBS[verb.verb].slots, dict(verb.members)
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
