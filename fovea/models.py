"""The models that verbs are made of: networks as a deployment runs them, and Python steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from fovea.deployment import Deployment
from fovea.geometry import Geometry
from fovea.members import Member
from fovea.placement import placed
from fovea.roles import (
    GRID_POINTS,
    IMAGE_EMBEDS,
    IOU_SCORES,
    LOW_RES_MASKS,
    ORIGINAL_SIZE,
    POINT_COORDS,
    POINT_LABELS,
    AnyDetector,
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
from fovea.specs import ModelSpec, Queue, TensorSpec, to_json
from fovea.steps import settings
from fovea.steps.tensors import (
    BOX_THRESHOLD,
    CLASSES,
    IMAGE,
    LABEL_RANKS,
    MASKS,
    OBJECT_SETTINGS,
    OBJECTS,
    ONE_TEXT,
    OPTIONAL_INPUTS,
    PICTURE,
    SCENE_SEGMENTS,
    SELECTED_BOXES,
    TEXT,
    TEXT_THRESHOLD,
    THRESHOLD,
    TOP_K,
    WITH_LABEL_MAP,
    text_tensor,
    verb_picture,
    verb_pixels,
)

FIRST_STEP = "preprocess_image"
# A parameter of networks, and a field of the members in the steps' parameters.
FINGERPRINT = "fingerprint"
# A parameter of Triton's python backend: a network's outputs on the GPU are copied for the step.
CPU_ONLY_INPUTS = "FORCE_CPU_ONLY_INPUT_TENSORS"


@dataclass(frozen=True)
class StepSpec:
    """A Python model of Triton.

    Attributes:
        model: its configuration.
        kind: the name of its class in `fovea.steps`.
        files: those that it reads, as (member, file of the checkpoint).
    """

    model: ModelSpec
    kind: str
    files: tuple[tuple[str, str], ...] = ()


class Models:
    """Networks and steps of a deployment; steps are made as verbs ask for them."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.roles = {member.name: member.play() for member in deployment.members}
        self._networks = {
            network.name: self._configured(member, network)
            for member in deployment.members
            for network in self.roles[member.name].networks
        }
        self._needed: set[str] = set()
        self._steps: dict[str, StepSpec] = {}
        self._uses: list[settings.Use] = []

    @property
    def networks(self) -> tuple[ModelSpec, ...]:
        """Those that a verb needs; a member may have more."""
        return tuple(self._networks[name] for name in self._networks if name in self._needed)

    @property
    def steps(self) -> tuple[StepSpec, ...]:
        """The requested steps, the first step first."""
        first = (self._first_step(),) if self._uses else ()
        return (*first, *self._steps.values())

    def network(self, spec: ModelSpec) -> ModelSpec:
        """A member's network as this deployment runs it."""
        self._needed.add(spec.name)
        return self._networks[spec.name]

    def first(
        self,
        verb: str,
        *,
        sees: Iterable[Role[Any]],
        asks: Iterable[str],
        checks: Iterable[Role[Any]],
        finds: Promptable[Any] | None = None,
    ) -> ModelSpec:
        """The step that takes what callers send.

        verb: the one that uses it. sees: members that want the picture. asks: models that it then
        waits for. checks: members that must have room for each label. finds: the member whose grid
        decoder finds every object.
        """
        geometries = dict.fromkeys(role.geometry.name for role in sees)
        names = tuple(role.name for role in checks)
        finder = finds.name if finds else ""
        self._uses.append(settings.Use(verb, tuple(geometries), tuple(asks), names, finder))
        return self._first_step().model

    def tokenize(self, embeds: Embedder[Any]) -> ModelSpec:
        """TEXT -> the inputs of an embedder's text network."""
        name = f"{embeds.name}_tokenize_text"
        return self._enter(name, "TokenizeText", ONE_TEXT, embeds, embeds.text_network)

    def prepare_modality(self, embeds: MultimodalEmbedder[Any], modality: str) -> ModelSpec:
        """The caller's tensor of a modality -> the input of its network."""
        found, name = embeds.modalities[modality], f"{embeds.name}_prepare_{modality}"
        return self._enter(
            name, "PrepareModality", found.sent, embeds, found.network, modality=modality
        )

    def _enter(
        self,
        name: str,
        kind: str,
        sent: TensorSpec,
        embeds: Embedder[Any],
        network: ModelSpec,
        **more: Any,
    ) -> ModelSpec:
        """The first step of a verb without a picture: what callers send -> a network's inputs."""
        network = self.network(network)
        return self._step(
            name,
            kind,
            (sent,),
            network.inputs,
            roles=(embeds,),
            queue=self.deployment.queues.entry,
            # A second one, or Triton overlooks a request now and then (see Queues).
            instances=2,
            waiting=self._waiting(),
            asks=(network.name,),
            **more,
        )

    def rank(self, ranks: Embedder[Any], detects: OpenDetector[Any]) -> ModelSpec:
        """TEXT and a picture's embedding -> scores of the labels, and the best for a detector."""
        network = self.network(ranks.text_network)
        return self._step(
            f"{ranks.name}_rank_labels_for_{detects.name}",
            "RankLabels",
            (TEXT, TensorSpec(IMAGE_EMBEDS, "FP32", (ranks.embed_dim,))),
            (*LABEL_RANKS, *detects.text_tensors),
            roles=(ranks, detects),
            text_batch=network.max_batch_size,
        )

    def rank_classes(self, classifies: Embedder[Any]) -> ModelSpec:
        """TEXT and a picture's embedding -> the labels, best first."""
        network = self.network(classifies.text_network)
        return self._step(
            f"{classifies.name}_rank_classes",
            "RankClasses",
            (TEXT, TensorSpec(IMAGE_EMBEDS, "FP32", (classifies.embed_dim,))),
            CLASSES,
            roles=(classifies,),
            text_batch=network.max_batch_size,
        )

    def select_classes(self, classifies: Classifier[Any]) -> ModelSpec:
        """A classifier's logits -> its classes, best first."""
        return self._step(
            f"{classifies.name}_select_classes",
            "SelectClasses",
            (*classifies.image_network.outputs, TOP_K),
            CLASSES,
            roles=(classifies,),
        )

    def select_boxes(self, detects: AnyDetector, *, main: bool) -> ModelSpec:
        """A detector's answer -> boxes, also as prompts; `main`: only the best one."""
        if isinstance(detects, Detector):
            return self._step(
                f"{detects.name}_select_boxes",
                "SelectClassBoxes",
                (*detects.finish_tensors, ORIGINAL_SIZE, BOX_THRESHOLD),
                (*SELECTED_BOXES, POINT_COORDS, POINT_LABELS),
                roles=(detects,),
                max_boxes=self.deployment.limits.prompts,
            )
        text = self.network(detects.text_network) if detects.text_network else None
        return self._step(
            f"{detects.name}_select_{'main_box' if main else 'boxes'}",
            "SelectBoxesByEmbeddings" if text else "SelectBoxes",
            (*detects.finish_tensors, TEXT, ORIGINAL_SIZE, BOX_THRESHOLD, TEXT_THRESHOLD),
            (*SELECTED_BOXES, POINT_COORDS, POINT_LABELS),
            roles=(detects,),
            max_boxes=1 if main else self.deployment.limits.prompts,
            text_batch=text.max_batch_size if text else 0,
        )

    def encode(self, cuts: Promptable[Any]) -> ModelSpec:
        """A promptable member's image network with a cache of its answers."""
        network = self.network(cuts.image_network)
        return self._step(
            f"{cuts.name}_encode_image",
            "EncodeImage",
            network.inputs,
            network.outputs,
            roles=(cuts,),
            cache_bytes=self.deployment.embedding_cache_bytes,
        )

    def select_masks(self, cuts: Promptable[Any]) -> ModelSpec:
        """The decoder's answer -> masks of the original picture."""
        outputs = {tensor.name: tensor for tensor in cuts.decoder.outputs}
        return self._step(
            f"{cuts.name}_select_masks",
            "SelectMasks",
            (outputs[LOW_RES_MASKS], outputs[IOU_SCORES], POINT_LABELS, ORIGINAL_SIZE),
            MASKS,
            roles=(cuts,),
        )

    def segment_everything(self, cuts: Promptable[Any]) -> ModelSpec:
        """A picture's embedding -> the masks of all its objects."""
        return self._everything(f"{cuts.name}_segment_everything", "SegmentEverything", cuts)

    def embed_objects(self, cuts: Promptable[Any], embeds: ImageEmbedder[Any]) -> ModelSpec:
        """`segment_everything`, but it takes the picture too and gives a vector for each object."""
        batch = self.network(embeds.image_network).max_batch_size
        return self._everything(
            f"{cuts.name}_embed_objects_by_{embeds.name}",
            "EmbedObjects",
            cuts,
            embeds,
            inputs=(PICTURE,),
            outputs=(TensorSpec("embeddings", "FP32", (-1, embeds.embed_dim)),),
            image_batch=batch,
        )

    def _everything(
        self,
        name: str,
        kind: str,
        cuts: Promptable[Any],
        *others: Role[Any],
        inputs: tuple[TensorSpec, ...] = (),
        outputs: tuple[TensorSpec, ...] = (),
        **more: Any,
    ) -> ModelSpec:
        decoder = self.network(cuts.grid_decoder)
        maps = (tensor for tensor in decoder.inputs if tensor.name != GRID_POINTS.name)
        return self._step(
            name,
            kind,
            (*maps, *inputs, *OBJECT_SETTINGS),
            (*OBJECTS, *outputs),
            roles=(cuts, *others),
            **more,
        )

    def segment_scene(self, segments: Segmenter[Any]) -> ModelSpec:
        """A segmenter's answer -> segments of the original picture."""
        return self._step(
            f"{segments.name}_segment_scene",
            "SegmentScene",
            (*segments.image_network.outputs, ORIGINAL_SIZE, THRESHOLD, WITH_LABEL_MAP),
            SCENE_SEGMENTS,
            roles=(segments,),
        )

    def _first_step(self) -> StepSpec:
        roles = self.roles.values()
        geometries = self._geometries()
        writers = [role for role in roles if isinstance(role, OpenDetector)]
        texts: list[Role[Any]] = [role for role in roles if role.FILES]
        outputs = [ORIGINAL_SIZE]
        known = {use.geometry.name: use.geometry for use in geometries}
        for use in self._uses:
            outputs += [verb_pixels(use.verb, known[name]) for name in use.sees]
        outputs += [verb_picture(use.verb) for use in self._uses if use.finds]
        outputs += [geometry.valid_hw for geometry in known.values()]
        for role in writers:
            outputs += [text_tensor(role, tensor) for tensor in role.text_tensors]
        outputs += [POINT_COORDS, POINT_LABELS]
        return self._made(
            FIRST_STEP,
            "PreprocessImage",
            (IMAGE, *OPTIONAL_INPUTS),
            tuple(outputs),
            roles=(*texts, *self._finders()),
            queue=self.deployment.queues.entry,
            instances=2,
            waiting=self._waiting(),
            geometries=geometries,
            uses=tuple(self._uses),
            decode_margin=self.deployment.decode_margin,
        )

    def _finders(self) -> list[Role[Any]]:
        """Members that have settings a caller may send."""
        names = dict.fromkeys(use.finds for use in self._uses if use.finds)
        return [self.roles[name] for name in names]

    def _geometries(self) -> tuple[settings.GeometryUse, ...]:
        """Each geometry once, in the members' order; small if for embedders or classifiers only."""
        found: dict[Geometry, bool] = {}
        for role in self.roles.values():
            small = isinstance(role, (ImageEmbedder, Classifier))
            found[role.geometry] = small and found.get(role.geometry, True)
        return tuple(settings.GeometryUse(geometry, small) for geometry, small in found.items())

    def _waiting(self) -> settings.Waiting:
        queues = self.deployment.queues
        instances = tuple((name, spec.instances) for name, spec in self._networks.items())
        return settings.Waiting(queues.entry.timeout_us, queues.backlog, instances)

    def _configured(self, member: Member, spec: ModelSpec) -> ModelSpec:
        """A member's network as this deployment runs it; other weights make another config."""
        sizes = dict(self.deployment.batch_sizes.networks)
        spec = replace(
            spec,
            max_batch_size=sizes.get(spec.name, spec.max_batch_size),
            queue=self.deployment.queues.inner,
            parameters=((FINGERPRINT, member.fingerprint),) if member.fingerprint else (),
        )
        return placed(spec, self.deployment.placements)

    def _step(self, name: str, *args: Any, **kwargs: Any) -> ModelSpec:
        if name not in self._steps:
            self._steps[name] = self._made(name, *args, **kwargs)
        return self._steps[name].model

    def _made(
        self,
        name: str,
        kind: str,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        *,
        roles: Iterable[Role[Any]],
        queue: Queue | None = None,
        instances: int = 1,
        **step_settings: Any,
    ) -> StepSpec:
        """A step; `step_settings` become parameters as JSON, see `fovea.steps.settings`."""
        deployment, played = self.deployment, list(roles)
        members = tuple(deployment.member(role.name) for role in played)
        known = {"limits": deployment.limits, "members": members, **step_settings}
        parameters = {key: to_json(value) for key, value in known.items()}
        model = ModelSpec(
            name=name,
            backend="python",
            inputs=inputs,
            outputs=outputs,
            max_batch_size=deployment.batch_sizes.steps,
            queue=queue or deployment.queues.inner,
            instances=instances,
            parameters=((CPU_ONLY_INPUTS, "yes"), *parameters.items()),
        )
        files = tuple((role.name, file) for role in played for file in role.FILES)
        return StepSpec(placed(model, deployment.placements), kind, files)
