"""Makes the models that Triton runs from a deployment: each verb is an ensemble of its members.

Triton runs a step as soon as its inputs are there, so a promptable member's encoder runs beside the
embedder and the detector. The first step takes all that a caller sends and checks it, so wrong
input is refused before anything else runs.

Only segment, which people call repeatedly for one picture, caches embeddings of pictures: for the
other verbs, the copy to the CPU and back would be wasted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from fovea.deployment import Deployment
from fovea.flow import IMAGE_SIZE, Flow, sent_back
from fovea.models import Models, StepSpec
from fovea.roles import (
    AnyDetector,
    Classifier,
    Embedder,
    ImageEmbedder,
    MultimodalEmbedder,
    OpenDetector,
    Promptable,
    Segmenter,
)
from fovea.specs import EnsembleSpec, ModelSpec, TensorSpec
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
from fovea.verbs import MODALITIES, VERBS, InvalidDeployment, Verb

DETECT_INPUTS = (IMAGE, TEXT, BOX_THRESHOLD, TEXT_THRESHOLD)
CLASS_INPUTS = (IMAGE, BOX_THRESHOLD)
LABEL_OUTPUTS = sent_back(LABEL_RANKS)
DETECT_OUTPUTS = sent_back(SELECTED_BOXES)
MASK_OUTPUTS = sent_back(MASKS)
CLASS_OUTPUTS = sent_back(CLASSES)
OBJECT_OUTPUTS = sent_back(OBJECTS)
SCENE_OUTPUTS = sent_back(SCENE_SEGMENTS)


def _main_object(
    models: Models,
    verb: Verb,
    ranks: Embedder[Any],
    detects: OpenDetector[Any],
    cuts: Promptable[Any],
) -> EnsembleSpec:
    flow = Flow(models, verb, DETECT_INPUTS)
    asks = [
        *ranks.networks,
        models.rank(ranks, detects),
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


def _detect(models: Models, verb: Verb, detects: AnyDetector) -> EnsembleSpec:
    flow = Flow(models, verb, _detect_inputs(detects))
    flow.prepare(detects, writes=detects, asks=detects.networks)
    flow.detect(detects, main=False, prompts=False)
    return flow.end((*DETECT_OUTPUTS, IMAGE_SIZE))


def _segment(models: Models, verb: Verb, cuts: Promptable[Any]) -> EnsembleSpec:
    flow = Flow(models, verb, (IMAGE, SENT_COORDS, SENT_LABELS))
    flow.prepare(cuts, asks=(models.encode(cuts), cuts.image_network, cuts.decoder))
    flow.encode(cuts, keep=True)
    flow.masks(cuts)
    return flow.end((*MASK_OUTPUTS, IMAGE_SIZE))


def _detect_and_segment(
    models: Models, verb: Verb, detects: AnyDetector, cuts: Promptable[Any]
) -> EnsembleSpec:
    flow = Flow(models, verb, _detect_inputs(detects))
    flow.prepare(
        detects, cuts, writes=detects, asks=(*detects.networks, cuts.image_network, cuts.decoder)
    )
    flow.detect(detects, main=False, prompts=True)
    flow.encode(cuts)
    flow.masks(cuts)
    return flow.end((*DETECT_OUTPUTS, *MASK_OUTPUTS, IMAGE_SIZE))


def _classify(
    models: Models, verb: Verb, classifies: Classifier[Any] | Embedder[Any]
) -> EnsembleSpec:
    if isinstance(classifies, Embedder):
        flow = Flow(models, verb, (IMAGE, TEXT))
        asks = (*classifies.networks, models.rank_classes(classifies))
        flow.prepare(classifies, checks=(classifies,), asks=asks, size=False)
    else:
        flow = Flow(models, verb, (IMAGE, TOP_K))
        flow.prepare(classifies, asks=classifies.networks, size=False)
    flow.classify(classifies)
    return flow.end(CLASS_OUTPUTS)


def _segment_scene(models: Models, verb: Verb, segments: Segmenter[Any]) -> EnsembleSpec:
    flow = Flow(models, verb, (IMAGE, THRESHOLD, WITH_LABEL_MAP))
    flow.prepare(segments, asks=segments.networks)
    flow.segments(segments)
    return flow.end((*SCENE_OUTPUTS, IMAGE_SIZE))


def _embed_image(models: Models, verb: Verb, embeds: ImageEmbedder[Any]) -> EnsembleSpec:
    flow = Flow(models, verb, (IMAGE,))
    flow.prepare(embeds, asks=(embeds.image_network,), size=False)
    flow.embed_image(embeds, "IMAGE_EMBEDS")
    return flow.end((TensorSpec("IMAGE_EMBEDS", "FP32", (embeds.embed_dim,)),), batches=True)


def _embed_text(models: Models, verb: Verb, embeds: Embedder[Any]) -> EnsembleSpec:
    flow = Flow(models, verb, (ONE_TEXT,))
    flow.embed_text(embeds, "TEXT_EMBEDS")
    return flow.end((TensorSpec("TEXT_EMBEDS", "FP32", (embeds.embed_dim,)),), batches=True)


def _embed_modality(
    modality: str, models: Models, verb: Verb, embeds: MultimodalEmbedder[Any]
) -> EnsembleSpec:
    if modality not in embeds.modalities:
        raise InvalidDeployment(
            f"{verb.name}: expected a member that embeds {modality}, {embeds.name!r} embeds "
            f"{', '.join(embeds.modalities)}"
        )
    answer = TensorSpec(f"{modality.upper()}_EMBEDS", "FP32", (embeds.embed_dim,))
    flow = Flow(models, verb, (embeds.modalities[modality].sent,))
    flow.embed_modality(embeds, modality, answer.name)
    return flow.end((answer,), batches=True)


def _segment_everything(models: Models, verb: Verb, cuts: Promptable[Any]) -> EnsembleSpec:
    flow = Flow(models, verb, (IMAGE, *OBJECT_SETTINGS))
    flow.prepare(cuts, asks=(cuts.image_network,), finds=cuts)
    flow.encode(cuts)
    flow.objects(cuts)
    return flow.end((*OBJECT_OUTPUTS, IMAGE_SIZE))


def _embed_objects(
    models: Models, verb: Verb, cuts: Promptable[Any], embeds: ImageEmbedder[Any]
) -> EnsembleSpec:
    flow = Flow(models, verb, (IMAGE, *OBJECT_SETTINGS))
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


_WIRING: Mapping[str, Callable[..., EnsembleSpec]] = {
    "main_object": _main_object,
    "detect": _detect,
    "segment": _segment,
    "detect_and_segment": _detect_and_segment,
    "classify": _classify,
    "segment_everything": _segment_everything,
    "embed_objects": _embed_objects,
    "segment_scene": _segment_scene,
    "embed_image": _embed_image,
    "embed_text": _embed_text,
    **{f"embed_{name}": partial(_embed_modality, name) for name in MODALITIES},
}


@dataclass(frozen=True)
class Wired:
    """All models of a deployment."""

    networks: tuple[ModelSpec, ...]
    steps: tuple[StepSpec, ...]
    ensembles: tuple[EnsembleSpec, ...]

    @property
    def names(self) -> set[str]:
        """The names of all models."""
        steps = {step.model.name for step in self.steps}
        networks = {network.name for network in self.networks}
        return steps | networks | {ensemble.name for ensemble in self.ensembles}


@lru_cache(16)
def wire(deployment: Deployment) -> Wired:
    """The models of a deployment: only the steps that its verbs need."""
    models = Models(deployment)
    ensembles = tuple(_wire_verb(models, verb) for verb in deployment.verbs)
    return Wired(models.networks, models.steps, ensembles)


def _wire_verb(models: Models, verb: Verb) -> EnsembleSpec:
    """A verb's ensemble, its members in the order of the verb's slots."""
    played = dict(verb.members)
    roles = (models.roles[played[slot]] for slot in VERBS[verb.verb])
    return _WIRING[verb.verb](models, verb, *roles)
