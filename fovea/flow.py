"""The pieces that verbs are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from fovea.models import Models
from fovea.roles import (
    IMAGE_EMBEDS,
    LOGITS,
    ORIGINAL_SIZE,
    PIXEL_VALUES,
    TEXT_EMBEDS,
    VALID_HW,
    AnyDetector,
    Classifier,
    Embedder,
    ImageEmbedder,
    MultimodalEmbedder,
    OpenDetector,
    Promptable,
    Role,
    Segmenter,
)
from fovea.specs import EnsembleSpec, ModelSpec, TensorSpec, to_json
from fovea.steps.tensors import (
    CLASSES,
    LABEL_RANKS,
    MASKS,
    PICTURE,
    PROMPTS,
    SCENE_SEGMENTS,
    SELECTED_BOXES,
    SENT_COORDS,
    TEXT,
    THRESHOLD,
    TOP_K,
    WITH_LABEL_MAP,
    text_tensor,
    verb_picture,
    verb_pixels,
)
from fovea.verbs import Verb
from fovea.wiring import Wiring


def sent_back(tensors: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """The outputs for callers, whose names are in upper case."""
    return tuple(replace(tensor, name=tensor.name.upper()) for tensor in tensors)


def same(tensors: Iterable[TensorSpec]) -> dict[str, str]:
    """Maps tensors that the model and the ensemble name alike."""
    return {tensor.name: tensor.name for tensor in tensors}


IMAGE_SIZE = replace(ORIGINAL_SIZE, name="IMAGE_SIZE")


class Flow:
    """One verb under construction: its pieces are added in the order of their data.

    Args:
        models: of the deployment.
        verb: the one that it makes.
        inputs: what callers send.
    """

    def __init__(self, models: Models, verb: Verb, inputs: tuple[TensorSpec, ...]) -> None:
        self._models, self._verb = models, verb
        self._sent = inputs
        self._wiring = Wiring(verb.name, inputs)

    def end(self, outputs: tuple[TensorSpec, ...], *, batches: bool = False) -> EnsembleSpec:
        """The ensemble; `batches`: a caller may send many at once."""
        sizes = self._models.deployment.batch_sizes
        size = sizes.embeddings if batches else sizes.objects
        played = dict(self._verb.members)
        about = {f"{slot}_member": to_json(self._about(name)) for slot, name in played.items()}
        return self._wiring.ensemble(outputs, size, {"verb": self._verb.verb, **played, **about})

    def _about(self, name: str) -> dict[str, Any]:
        """A member's parameters for clients."""
        member = self._models.deployment.member(name)
        return {
            "name": name,
            "family": member.family,
            "role": self._models.roles[name].ROLE,
            "fingerprint": member.fingerprint,
            "licence": member.licence,
            "class_names": list(getattr(member.spec, "class_names", ())),
        }

    def prepare(
        self,
        *members: Role[Any],
        writes: AnyDetector | None = None,
        checks: Iterable[Role[Any]] = (),
        asks: Iterable[ModelSpec] = (),
        size: bool = True,
        finds: Promptable[Any] | None = None,
        picture: bool = False,
    ) -> None:
        """The first step: makes pixels for the members and prepares the other inputs.

        writes: the detector that reads the caller's labels, if any. checks: members that must have
        room for each label. asks: models that may be slow after it. finds: the member that finds
        every object. picture: crops are cut from it.
        """
        outputs: dict[str, str] = {}
        for role in members:
            pixels, valid_hw = role.geometry.pixels.name, role.geometry.valid_hw.name
            outputs[verb_pixels(self._verb.name, role.geometry).name] = pixels
            if any(t.name == VALID_HW for network in role.networks for t in network.inputs):
                outputs[valid_hw] = valid_hw
        if isinstance(writes, OpenDetector):
            outputs |= same(text_tensor(writes, tensor) for tensor in writes.text_tensors)
        if SENT_COORDS in self._sent:
            outputs |= same(PROMPTS)
        if size:
            outputs[ORIGINAL_SIZE.name] = IMAGE_SIZE.name
        if picture:
            outputs[verb_picture(self._verb.name).name] = PICTURE.name
        step = self._models.first(
            self._verb.name,
            sees=members,
            asks=[model.name for model in asks],
            checks=checks,
            finds=finds,
        )
        self._wiring.add(step, inputs=same(self._sent), outputs=outputs)

    def embed_image(self, embeds: ImageEmbedder[Any], image_embeds: str = IMAGE_EMBEDS) -> None:
        """Pixels -> a vector."""
        inputs = self._picture(embeds)
        self._wiring.add(
            self._models.network(embeds.image_network),
            inputs=inputs,
            outputs={IMAGE_EMBEDS: image_embeds},
        )

    def embed_text(self, embeds: Embedder[Any], text_embeds: str) -> None:
        """TEXT -> a vector."""
        network = self._models.network(embeds.text_network)
        tokens = same(network.inputs)
        self._wiring.add(self._models.tokenize(embeds), inputs=same((TEXT,)), outputs=tokens)
        self._wiring.add(network, inputs=tokens, outputs={TEXT_EMBEDS: text_embeds})

    def embed_modality(self, embeds: MultimodalEmbedder[Any], modality: str, answer: str) -> None:
        """The caller's tensor of a modality -> a vector."""
        found = embeds.modalities[modality]
        network = self._models.network(found.network)
        prepared, [vector] = same(network.inputs), network.outputs
        step = self._models.prepare_modality(embeds, modality)
        self._wiring.add(step, inputs=same((found.sent,)), outputs=prepared)
        self._wiring.add(network, inputs=prepared, outputs={vector.name: answer})

    def rank(self, ranks: Embedder[Any], detects: OpenDetector[Any]) -> None:
        """Labels and the picture's vector -> scores, and the best label for the detector."""
        outputs = {tensor.name: tensor.name.upper() for tensor in LABEL_RANKS}
        outputs |= {t.name: text_tensor(detects, t).name for t in detects.text_tensors}
        self._wiring.add(
            self._models.rank(ranks, detects),
            inputs={TEXT.name: TEXT.name, IMAGE_EMBEDS: IMAGE_EMBEDS},
            outputs=outputs,
        )

    def classify(self, classifies: Classifier[Any] | Embedder[Any]) -> None:
        """Pixels, and TEXT for an embedder -> labels, best first."""
        if isinstance(classifies, Classifier):
            network = self._models.network(classifies.image_network)
            model, inputs = self._models.select_classes(classifies), same((TOP_K,))
            self._wiring.add(network, inputs=self._picture(classifies), outputs={LOGITS: LOGITS})
            inputs[LOGITS] = LOGITS
        else:
            self.embed_image(classifies)
            model, inputs = self._models.rank_classes(classifies), same((TEXT,))
            inputs[IMAGE_EMBEDS] = IMAGE_EMBEDS
        outputs = {tensor.name: tensor.name.upper() for tensor in CLASSES}
        self._wiring.add(model, inputs=inputs, outputs=outputs)

    def detect(self, detects: AnyDetector, *, main: bool, prompts: bool) -> None:
        """Pixels, and labels if it reads any -> boxes.

        main: only the best one. prompts: also as prompts for masks.
        """
        network = self._models.network(detects.image_network)
        texts: dict[str, str] = {}
        if isinstance(detects, OpenDetector):
            texts = {t.name: text_tensor(detects, t).name for t in detects.text_tensors}
        takes = {tensor.name for tensor in network.inputs}
        read = {name: there for name, there in texts.items() if name in takes}
        finishes = {tensor.name for tensor in detects.finish_tensors}
        answers = same(tensor for tensor in network.outputs if tensor.name in finishes)
        self._wiring.add(network, inputs=self._picture(detects) | read, outputs=answers)
        finish = {t.name: texts.get(t.name, t.name) for t in detects.finish_tensors}
        step = self._models.select_boxes(detects, main=main)
        sent = same(tensor for tensor in step.inputs if tensor in self._sent)
        outputs = {tensor.name: tensor.name.upper() for tensor in SELECTED_BOXES}
        outputs |= same(PROMPTS if prompts else ())
        self._wiring.add(
            step,
            inputs={**finish, **sent, ORIGINAL_SIZE.name: IMAGE_SIZE.name},
            outputs=outputs,
        )

    def encode(self, cuts: Promptable[Any], *, keep: bool = False) -> None:
        """Pixels -> the picture's embedding; `keep`: cache it for further prompts."""
        network = self._models.network(cuts.image_network)
        model = self._models.encode(cuts) if keep else network
        self._wiring.add(model, inputs=self._picture(cuts), outputs=same(network.outputs))

    def masks(self, cuts: Promptable[Any]) -> None:
        """Prompts and an embedding -> masks of the original picture."""
        decoder = self._models.network(cuts.decoder)
        inputs = same(decoder.inputs)
        inputs |= {VALID_HW: cuts.geometry.valid_hw.name, ORIGINAL_SIZE.name: IMAGE_SIZE.name}
        self._wiring.add(decoder, inputs=inputs, outputs=same(decoder.outputs))
        model = self._models.select_masks(cuts)
        self._wiring.add(
            model,
            inputs=same(model.inputs) | {ORIGINAL_SIZE.name: IMAGE_SIZE.name},
            outputs={tensor.name: tensor.name.upper() for tensor in MASKS},
        )

    def objects(self, cuts: Promptable[Any], embeds: ImageEmbedder[Any] | None = None) -> None:
        """An embedding -> every object; with `embeds`, takes the picture too and gives vectors."""
        models = self._models
        model = models.embed_objects(cuts, embeds) if embeds else models.segment_everything(cuts)
        inputs = same(model.inputs)
        inputs |= {VALID_HW: cuts.geometry.valid_hw.name, ORIGINAL_SIZE.name: IMAGE_SIZE.name}
        outputs = {tensor.name: tensor.name.upper() for tensor in model.outputs}
        self._wiring.add(model, inputs=inputs, outputs=outputs)

    def segments(self, segments: Segmenter[Any]) -> None:
        """Pixels -> segments of the original picture."""
        network = self._models.network(segments.image_network)
        answer = same(network.outputs)
        self._wiring.add(network, inputs=self._picture(segments), outputs=answer)
        sent = same((THRESHOLD, WITH_LABEL_MAP)) | {ORIGINAL_SIZE.name: IMAGE_SIZE.name}
        self._wiring.add(
            self._models.segment_scene(segments),
            inputs=answer | sent,
            outputs={tensor.name: tensor.name.upper() for tensor in SCENE_SEGMENTS},
        )

    def _picture(self, role: Role[Any]) -> dict[str, str]:
        """The picture's tensors that a member's first network takes."""
        takes = {tensor.name for tensor in role.networks[0].inputs}
        pixels = {PIXEL_VALUES: role.geometry.pixels.name}
        valid = {VALID_HW: role.geometry.valid_hw.name} if VALID_HW in takes else {}
        return pixels | valid
