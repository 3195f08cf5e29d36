"""The verbs that users call: each is an ensemble, made of members by a function.

| verb | inputs | outputs |
| --- | --- | --- |
| main_object | as detect | LABEL, LABEL_INDEX, LABELS, LABEL_SCORES; detect_and_segment's, n <= 1 |
| detect | IMAGE, TEXT, thresholds | BOXES, SCORES, PHRASES, LABEL_INDICES, WORDS, IMAGE_SIZE |
| segment | IMAGE, POINT_COORDS, POINT_LABELS | MASKS, MASK_SCORES, IMAGE_SIZE |
| detect_and_segment | as detect | those of detect and segment |
| embed_image, embed_text | IMAGE or TEXT | IMAGE_EMBEDS or TEXT_EMBEDS |

`fovea.steps.tensors` says what the tensors are; IMAGE is encoded bytes, IMAGE_SIZE the picture's
(height, width). Triton runs a step as soon as its inputs are there, so a promptable member's
encoder runs beside the embedder and the detector. The first step takes all that a caller sends and
checks it, so that what is wrong is refused before anything else runs.

Only segment, which people call again and again for one picture, keeps embeddings of pictures: for
the others a copy to the CPU and back would be in vain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fovea.deployment import InvalidDeployment, Verb
from fovea.house import House
from fovea.roles import (
    IMAGE_EMBEDS,
    ORIGINAL_SIZE,
    PIXEL_VALUES,
    TEXT_EMBEDS,
    VALID_HW,
    Embedder,
    OpenDetector,
    Promptable,
    Role,
)
from fovea.specs import EnsembleSpec, ModelSpec, TensorSpec
from fovea.steps.tensors import (
    BOX_THRESHOLD,
    IMAGE,
    LABEL_RANKS,
    MASKS,
    ONE_TEXT,
    PROMPTS,
    SELECTED_BOXES,
    SENT_COORDS,
    SENT_LABELS,
    TEXT,
    TEXT_THRESHOLD,
    text_tensor,
    verb_pixels,
)
from fovea.wiring import Wiring


def _sent_back(tensors: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """What a caller gets is in upper case."""
    return tuple(replace(tensor, name=tensor.name.upper()) for tensor in tensors)


def _same(tensors: Iterable[TensorSpec]) -> dict[str, str]:
    """Tensors that a model and the ensemble call the same."""
    return {tensor.name: tensor.name for tensor in tensors}


IMAGE_SIZE = replace(ORIGINAL_SIZE, name="IMAGE_SIZE")
DETECT_INPUTS = (IMAGE, TEXT, BOX_THRESHOLD, TEXT_THRESHOLD)
LABEL_OUTPUTS = _sent_back(LABEL_RANKS)
DETECT_OUTPUTS = _sent_back(SELECTED_BOXES)
MASK_OUTPUTS = _sent_back(MASKS)


class Flow:
    """One verb under construction: the pieces that verbs are made of, in the order of their data.

    Args:
        house: whose models it takes.
        verb: that it makes.
        inputs: what callers send.
    """

    def __init__(self, house: House, verb: Verb, inputs: tuple[TensorSpec, ...]) -> None:
        self._house, self._verb = house, verb
        self._sent = inputs
        self._wiring = Wiring(verb.name, inputs)

    def end(self, outputs: tuple[TensorSpec, ...], *, batches: bool = False) -> EnsembleSpec:
        """The ensemble; `batches`: a caller may send many at once."""
        sizes = self._house.deployment.batch_sizes
        size = sizes.embeddings if batches else sizes.objects
        played = dict(self._verb.members)
        return self._wiring.ensemble(outputs, size, {"verb": self._verb.verb, **played})

    def prepare(
        self,
        *members: Role[Any],
        writes: OpenDetector[Any] | None = None,
        checks: Iterable[Role[Any]] = (),
        asks: Iterable[ModelSpec] = (),
        size: bool = True,
    ) -> None:
        """The first step: pixels for the members, and what else was sent.

        writes: the detector that reads the labels as they were sent. checks: members that must
        have room for each label. asks: models that then may be slow.
        """
        outputs: dict[str, str] = {}
        for role in members:
            pixels, valid_hw = role.geometry.pixels.name, role.geometry.valid_hw.name
            outputs[verb_pixels(self._verb.name, role.geometry).name] = pixels
            if any(t.name == VALID_HW for network in role.networks for t in network.inputs):
                outputs[valid_hw] = valid_hw
        if writes:
            outputs |= _same(text_tensor(writes, tensor) for tensor in writes.text_tensors)
        if SENT_COORDS in self._sent:
            outputs |= _same(PROMPTS)
        if size:
            outputs[ORIGINAL_SIZE.name] = IMAGE_SIZE.name
        step = self._house.first(
            self._verb.name, sees=members, asks=[model.name for model in asks], checks=checks
        )
        self._wiring.add(step, inputs=_same(self._sent), outputs=outputs)

    def embed_image(self, embeds: Embedder[Any], image_embeds: str = IMAGE_EMBEDS) -> None:
        """Pixels -> a vector."""
        inputs = self._picture(embeds)
        self._wiring.add(
            self._house.network(embeds.image_network),
            inputs=inputs,
            outputs={IMAGE_EMBEDS: image_embeds},
        )

    def embed_text(self, embeds: Embedder[Any], text_embeds: str) -> None:
        """TEXT -> a vector."""
        network = self._house.network(embeds.text_network)
        tokens = _same(network.inputs)
        self._wiring.add(self._house.tokenize(embeds), inputs=_same((TEXT,)), outputs=tokens)
        self._wiring.add(network, inputs=tokens, outputs={TEXT_EMBEDS: text_embeds})

    def rank(self, ranks: Embedder[Any], detects: OpenDetector[Any]) -> None:
        """Labels against the picture's vector -> scores, and the best one for the detector."""
        outputs = {tensor.name: tensor.name.upper() for tensor in LABEL_RANKS}
        outputs |= {t.name: text_tensor(detects, t).name for t in detects.text_tensors}
        self._wiring.add(
            self._house.rank(ranks, detects),
            inputs={TEXT.name: TEXT.name, IMAGE_EMBEDS: IMAGE_EMBEDS},
            outputs=outputs,
        )

    def detect(self, detects: OpenDetector[Any], *, main: bool, prompts: bool) -> None:
        """Pixels and labels -> boxes; `main`: the best one alone; `prompts`: to be cut out."""
        network = self._house.network(detects.image_network)
        texts = {tensor.name: text_tensor(detects, tensor).name for tensor in detects.text_tensors}
        takes = {tensor.name for tensor in network.inputs}
        read = {name: there for name, there in texts.items() if name in takes}
        finishes = {tensor.name for tensor in detects.finish_tensors}
        answers = _same(tensor for tensor in network.outputs if tensor.name in finishes)
        self._wiring.add(network, inputs=self._picture(detects) | read, outputs=answers)
        finish = {t.name: texts.get(t.name, t.name) for t in detects.finish_tensors}
        sent = _same((TEXT, BOX_THRESHOLD, TEXT_THRESHOLD))
        outputs = {tensor.name: tensor.name.upper() for tensor in SELECTED_BOXES}
        outputs |= _same(PROMPTS if prompts else ())
        self._wiring.add(
            self._house.select_boxes(detects, main=main),
            inputs={**finish, **sent, ORIGINAL_SIZE.name: IMAGE_SIZE.name},
            outputs=outputs,
        )

    def encode(self, cuts: Promptable[Any], *, keep: bool = False) -> None:
        """Pixels -> the picture's embedding; `keep`: it may be asked for again."""
        network = self._house.network(cuts.image_network)
        model = self._house.encode(cuts) if keep else network
        self._wiring.add(model, inputs=self._picture(cuts), outputs=_same(network.outputs))

    def masks(self, cuts: Promptable[Any]) -> None:
        """Prompts and an embedding -> masks of the original picture."""
        decoder = self._house.network(cuts.decoder)
        inputs = _same(decoder.inputs)
        inputs |= {VALID_HW: cuts.geometry.valid_hw.name, ORIGINAL_SIZE.name: IMAGE_SIZE.name}
        self._wiring.add(decoder, inputs=inputs, outputs=_same(decoder.outputs))
        model = self._house.select_masks(cuts)
        self._wiring.add(
            model,
            inputs=_same(model.inputs) | {ORIGINAL_SIZE.name: IMAGE_SIZE.name},
            outputs={tensor.name: tensor.name.upper() for tensor in MASKS},
        )

    def _picture(self, role: Role[Any]) -> dict[str, str]:
        """What a member's first network takes of the picture."""
        takes = {tensor.name for tensor in role.networks[0].inputs}
        pixels = {PIXEL_VALUES: role.geometry.pixels.name}
        valid = {VALID_HW: role.geometry.valid_hw.name} if VALID_HW in takes else {}
        return pixels | valid


def _main_object(
    house: House,
    verb: Verb,
    ranks: Embedder[Any],
    detects: OpenDetector[Any],
    cuts: Promptable[Any],
) -> EnsembleSpec:
    flow = Flow(house, verb, DETECT_INPUTS)
    asks = [*ranks.networks, house.rank(ranks, detects), *detects.networks, *cuts.networks]
    flow.prepare(ranks, detects, cuts, checks=(detects, ranks), asks=asks)
    flow.embed_image(ranks)
    flow.rank(ranks, detects)
    flow.detect(detects, main=True, prompts=True)
    flow.encode(cuts)
    flow.masks(cuts)
    return flow.end((*LABEL_OUTPUTS, *DETECT_OUTPUTS, *MASK_OUTPUTS, IMAGE_SIZE))


def _detect(house: House, verb: Verb, detects: OpenDetector[Any]) -> EnsembleSpec:
    flow = Flow(house, verb, DETECT_INPUTS)
    flow.prepare(detects, writes=detects, asks=detects.networks)
    flow.detect(detects, main=False, prompts=False)
    return flow.end((*DETECT_OUTPUTS, IMAGE_SIZE))


def _segment(house: House, verb: Verb, cuts: Promptable[Any]) -> EnsembleSpec:
    flow = Flow(house, verb, (IMAGE, SENT_COORDS, SENT_LABELS))
    flow.prepare(cuts, asks=(house.encode(cuts), *cuts.networks))
    flow.encode(cuts, keep=True)
    flow.masks(cuts)
    return flow.end((*MASK_OUTPUTS, IMAGE_SIZE))


def _detect_and_segment(
    house: House, verb: Verb, detects: OpenDetector[Any], cuts: Promptable[Any]
) -> EnsembleSpec:
    flow = Flow(house, verb, DETECT_INPUTS)
    flow.prepare(detects, cuts, writes=detects, asks=(*detects.networks, *cuts.networks))
    flow.detect(detects, main=False, prompts=True)
    flow.encode(cuts)
    flow.masks(cuts)
    return flow.end((*DETECT_OUTPUTS, *MASK_OUTPUTS, IMAGE_SIZE))


def _embed_image(house: House, verb: Verb, embeds: Embedder[Any]) -> EnsembleSpec:
    flow = Flow(house, verb, (IMAGE,))
    flow.prepare(embeds, asks=(embeds.image_network,), size=False)
    flow.embed_image(embeds, "IMAGE_EMBEDS")
    return flow.end((TensorSpec("IMAGE_EMBEDS", "FP32", (embeds.embed_dim,)),), batches=True)


def _embed_text(house: House, verb: Verb, embeds: Embedder[Any]) -> EnsembleSpec:
    flow = Flow(house, verb, (ONE_TEXT,))
    flow.embed_text(embeds, "TEXT_EMBEDS")
    return flow.end((TensorSpec("TEXT_EMBEDS", "FP32", (embeds.embed_dim,)),), batches=True)


@dataclass(frozen=True)
class Kind:
    """A verb that a deployment may have.

    Attributes:
        slots: what must be filled, each with a member of this role.
        wire: makes the ensemble of the members in the order of the slots.
    """

    slots: Mapping[str, type[Role[Any]]]
    wire: Callable[..., EnsembleSpec]


_RANKS = {"ranks": Embedder}
_EMBEDS = {"embeds": Embedder}
_DETECTS = {"detects": OpenDetector}
_CUTS = {"cuts": Promptable}

VERBS: Mapping[str, Kind] = {
    "main_object": Kind({**_RANKS, **_DETECTS, **_CUTS}, _main_object),
    "detect": Kind(_DETECTS, _detect),
    "segment": Kind(_CUTS, _segment),
    "detect_and_segment": Kind({**_DETECTS, **_CUTS}, _detect_and_segment),
    "embed_image": Kind(_EMBEDS, _embed_image),
    "embed_text": Kind(_EMBEDS, _embed_text),
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
        slots = {slot: role.ROLE for slot, role in VERBS[verb.verb].slots.items()}
        played = dict(verb.members)
        for slot in (*slots, *played):
            expected = slots.get(slot)
            if expected is None:
                raise InvalidDeployment(
                    f"{verb.name}: {verb.verb} takes {', '.join(slots)}, got {slot!r}"
                )
            if slot not in played:
                raise InvalidDeployment(f"{verb.name}: expected a member as {slot!r}, got none")
            name = played[slot]
            if name not in roles:
                raise InvalidDeployment(
                    f"{verb.name}: {slot} = {name!r}, but the members are {', '.join(roles)}"
                )
            if roles[name] != expected:
                raise InvalidDeployment(
                    f"{verb.name}: {slot} takes a member of role {expected}, "
                    f"{name!r} is of role {roles[name]}"
                )
            used.add(name)
    idle = set(roles) - used
    if idle:
        raise InvalidDeployment(f"no verb uses the member {sorted(idle)[0]!r}")
