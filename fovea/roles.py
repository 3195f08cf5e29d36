"""The roles of models, named after the field's tasks: the contract between families and verbs.

| role | takes | gives |
| --- | --- | --- |
| embedder | a picture, or a text | a vector of length 1; scores of labels for a picture |
| multimodal_embedder | what an embedder takes, a sound, … | what an embedder gives |
| image_embedder | a picture | a vector of length 1 |
| classifier | a picture | a score of each of its own classes |
| open_detector | a picture and labels | boxes, each with one of the labels |
| detector | a picture | boxes, each of one of the checkpoint's classes |
| promptable | a picture, and points or boxes | one mask a prompt |
| segmenter | a picture | segments: masks, each of one of its classes |

A family (`fovea.families`) is how one architecture plays its role, a member one of its checkpoints
under the user's name. Verbs only know roles, never families.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from fovea.geometry import Geometry
from fovea.limits import Limits
from fovea.segments import Segments
from fovea.specs import ModelSpec, TensorSpec

Arrays = dict[str, NDArray[Any]]

# Every network's name of its picture, and of the part of it that is valid.
PIXEL_VALUES = "pixel_values"
VALID_HW = "valid_hw"
TOKENIZER = "tokenizer.json"

# The picture's (height, width) as sent, and prompts in its pixels: `fovea.prompts`.
ORIGINAL_SIZE = TensorSpec("original_size_hw", "INT32", (2,))
POINT_COORDS = TensorSpec("point_coords", "FP32", (-1, -1, 2))
POINT_LABELS = TensorSpec("point_labels", "INT32", (-1, -1))

# A grid of single points, xy in pixels of the original picture.
GRID_POINTS = TensorSpec("grid_points", "FP32", (-1, 2))

# What the networks of a role answer.
IMAGE_EMBEDS = "image_embeds"
TEXT_EMBEDS = "text_embeds"
LOGITS = "logits"
IOU_SCORES = "iou_scores"
LOW_RES_MASKS = "low_res_masks"
STABILITY = "stability"
AREAS = "areas"
MASK_BOXES = "mask_boxes"

S = TypeVar("S")


class Role(ABC, Generic[S]):
    """A family as played by one member: `name` is the member's, `spec` what its checkpoint fixes.

    ROLE: the role's name. Spec: a frozen dataclass of numbers, strings and tuples. FILES: those of
    the checkpoint that its steps read.
    """

    ROLE: ClassVar[str]
    Spec: ClassVar[type]
    FILES: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str, spec: S) -> None:
        self.name, self.spec = name, spec

    @property
    @abstractmethod
    def geometry(self) -> Geometry:
        """How it wants its picture."""

    @property
    @abstractmethod
    def image_network(self) -> ModelSpec:
        """The network that takes pixel_values."""

    @property
    def networks(self) -> tuple[ModelSpec, ...]:
        """All of its networks, with the largest batches that suit them."""
        return (self.image_network,)

    def network_name(self, part: str) -> str:
        """Triton's name of a network of this member; a single network has the member's name."""
        return f"{self.name}_{part}" if part else self.name

    def part(self, network: str) -> str:
        """The inverse of `network_name`."""
        return network[len(self.name) + 1 :]

    def file(self, folder: Path, name: str) -> Path:
        """The path of a checkpoint's file beside a step."""
        return folder / f"{self.name}_{name}"


class Tokens(Protocol):
    """Turns texts into the inputs of an embedder's text network."""

    def encode(self, text: str) -> Arrays:
        """The network's inputs, without batch axis; raises InvalidText."""

    def check(self, labels: Sequence[str]) -> None:
        """Raise InvalidText unless there is room for each label."""


class ImageEmbedder(Role[S]):
    """Pictures as vectors that can be compared."""

    ROLE = "image_embedder"

    @property
    @abstractmethod
    def image_network(self) -> ModelSpec:
        """pixel_values -> image_embeds float32 [D] of length 1."""

    @property
    def embed_dim(self) -> int:
        """Length of its vectors."""
        return self.image_network.outputs[0].shape[0]


class Embedder(ImageEmbedder[S]):
    """Pictures and texts as vectors that can be compared."""

    ROLE = "embedder"
    FILES = (TOKENIZER,)

    @property
    @abstractmethod
    def text_network(self) -> ModelSpec:
        """The outputs of `Tokens.encode` -> text_embeds float32 [D] of length 1."""

    @property
    def networks(self) -> tuple[ModelSpec, ...]:
        return self.image_network, self.text_network

    @abstractmethod
    def tokens(self, folder: Path) -> Tokens:
        """Its tokenizer, from the file beside a step."""

    @abstractmethod
    def label_scores(
        self, image_embeds: NDArray[np.float32], label_embeds: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """How well each label fits the picture, within [0, 1]: [D], [L, D] -> float32 [L]."""


@dataclass(frozen=True)
class Modality:
    """An input of an embedder other than pictures and texts.

    Attributes:
        sent: the tensor that callers send.
        network: the result of `prepare` -> one output, float32 [D] of length 1.
        prepare: the tensor of one request -> the network's input; raises InvalidInput.
    """

    sent: TensorSpec
    network: ModelSpec
    prepare: Callable[[NDArray[Any], Limits], NDArray[np.float32]]


class MultimodalEmbedder(Embedder[S]):
    """Pictures, texts and other modalities as vectors that can be compared."""

    ROLE = "multimodal_embedder"

    @property
    @abstractmethod
    def modalities(self) -> Mapping[str, Modality]:
        """Modalities by name; the verb embed_audio is for "audio"."""

    @property
    def networks(self) -> tuple[ModelSpec, ...]:
        return (*super().networks, *(found.network for found in self.modalities.values()))


class Classifier(Role[S]):
    """Tells which of its own classes a picture shows.

    Its `spec` has class_names, in the order of the logits, and top_k, the default number of classes
    in an answer.
    """

    ROLE = "classifier"

    @property
    @abstractmethod
    def image_network(self) -> ModelSpec:
        """pixel_values -> logits float32 [C]."""

    @abstractmethod
    def scores(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [C] -> how well each class fits the picture, within [0, 1]: float32 [C]."""


@dataclass(frozen=True)
class Detections:
    """Boxes of one picture, best first.

    Attributes:
        boxes_xyxy: float32 [N, 4], in pixels of the original picture.
        scores: float32 [N], within [0, 1].
        label_indices: int32 [N], positions in the caller's list of labels, or class ids.
        words: N strings, the words of the label that the box answers, or names of classes.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    label_indices: NDArray[np.int32]
    words: list[str]


class LabelWriter(Protocol):
    """Turns labels into the inputs of an open detector."""

    def write(self, labels: Mapping[int, str]) -> Arrays:
        """The detector's `text_tensors` for labels by their index; raises InvalidText."""

    def check(self, labels: Sequence[str]) -> None:
        """Raise InvalidText unless each label alone has room."""


@dataclass(frozen=True)
class Selection:
    """How boxes are chosen.

    Attributes:
        box_threshold: least score of a box.
        max_boxes: most boxes.
        text_threshold: least score of the words that it answers, if words are used.
    """

    box_threshold: float
    max_boxes: int
    text_threshold: float = 0.0


class OpenDetector(Role[S]):
    """Boxes for any labels, also ones that it was not trained on.

    Its `spec` has box_threshold and text_threshold, the defaults.
    """

    ROLE = "open_detector"
    FILES = (TOKENIZER,)

    @property
    @abstractmethod
    def image_network(self) -> ModelSpec:
        """The network that takes pixel_values and those of the `text_tensors` that it names."""

    @property
    def text_network(self) -> ModelSpec | None:
        """The network that embeds labels, if it has a separate one."""
        return None

    @property
    def networks(self) -> tuple[ModelSpec, ...]:
        found = (self.image_network, self.text_network)
        return tuple(network for network in found if network is not None)

    @property
    @abstractmethod
    def text_tensors(self) -> tuple[TensorSpec, ...]:
        """The outputs of `LabelWriter.write`."""

    @property
    @abstractmethod
    def finish_tensors(self) -> tuple[TensorSpec, ...]:
        """The inputs of `select`: outputs of the network, and some of the `text_tensors`."""

    @abstractmethod
    def writer(self, folder: Path) -> LabelWriter:
        """Its tokenizer, from the file beside a step."""

    @abstractmethod
    def select(
        self,
        answer: Arrays,
        labels: Sequence[str],
        original_hw: tuple[int, int],
        selection: Selection,
        embed: Callable[[Arrays], NDArray[np.float32]],
    ) -> Detections:
        """The `finish_tensors` of one picture -> its boxes.

        labels: all that were sent. embed: runs the text network on a batch of its inputs.
        """


class Detector(Role[S]):
    """Boxes of the classes that the checkpoint was trained on.

    Its `spec` has class_names, by class id, and box_threshold, the default.
    """

    ROLE = "detector"

    @property
    @abstractmethod
    def image_network(self) -> ModelSpec:
        """pixel_values -> the inputs of `select`."""

    @property
    def finish_tensors(self) -> tuple[TensorSpec, ...]:
        """The inputs of `select`: outputs of the network."""
        return self.image_network.outputs

    @abstractmethod
    def select(
        self, answer: Arrays, original_hw: tuple[int, int], selection: Selection
    ) -> Detections:
        """The `finish_tensors` of one picture -> its boxes."""


AnyDetector: TypeAlias = OpenDetector[Any] | Detector[Any]


class Promptable(Role[S]):
    """Masks of what points and boxes mark.

    Its `spec` has points_per_side, iou_threshold, stability_threshold and min_piece, the default
    criteria for objects (`fovea.everything`).
    """

    ROLE = "promptable"

    @property
    @abstractmethod
    def image_network(self) -> ModelSpec:
        """pixel_values, valid_hw -> the decoder's inputs for a picture."""

    @property
    @abstractmethod
    def decoder(self) -> ModelSpec:
        """A picture's embedding and P prompts -> low_res_masks [P, M, M], iou_scores [P].

        point_coords are in pixels of the original picture (original_size_hw), valid_hw is the valid
        part of the canvas. Masks are logits in the frame of the canvas, one for each prompt: a box
        or several points mean one thing; a single point is ambiguous and gets the best scored of
        three (segment-anything, `multimask_output`).
        """

    @property
    @abstractmethod
    def grid_decoder(self) -> ModelSpec:
        """A picture's embedding and P single points -> all three masks of each, with their quality.

        grid_points [P, 2], valid_hw and original_size_hw are as for the decoder. iou_scores [P, 3];
        stability [P, 3] within [0, 1]; areas [P, 3] and mask_boxes xyxy [P, 3, 4] in pixels of the
        original picture; low_res_masks [P, 3, M, M], large, to be requested for few points only.
        """

    @property
    def networks(self) -> tuple[ModelSpec, ...]:
        return self.image_network, self.decoder, self.grid_decoder

    @abstractmethod
    def encode_mask(self, mask: NDArray[np.float32], original_hw: tuple[int, int]) -> bytes:
        """Logits [M, M] -> COCO RLE counts of a mask of the original picture."""

    @abstractmethod
    def without_specks(
        self, mask: NDArray[np.float32], original_hw: tuple[int, int], min_piece: float
    ) -> NDArray[np.float32]:
        """Logits [M, M] without pieces smaller than `min_piece` of the mask in the picture."""

    @abstractmethod
    def mask_within(
        self,
        mask: NDArray[np.float32],
        original_hw: tuple[int, int],
        square: tuple[float, float, float, float],
        edge: int,
    ) -> NDArray[np.bool_]:
        """Logits [M, M] -> the mask in a square of the original picture, bool [edge, edge].

        square: xyxy in original pixels; its part beyond the picture has no mask.
        """


class Segmenter(Role[S]):
    """The parts of a scene: segments, each of one of the classes that it was trained on.

    Its `spec` has class_names, by class id; task: semantic (one segment for each class, each pixel
    in one), instance (things, which may overlap) or panoptic (things and stuff, apart); and
    threshold, the default.
    """

    ROLE = "segmenter"

    @property
    @abstractmethod
    def image_network(self) -> ModelSpec:
        """pixel_values -> the inputs of `segments`."""

    @abstractmethod
    def segments(
        self, answer: Arrays, original_hw: tuple[int, int], *, threshold: float, max_masks: int
    ) -> Segments:
        """The network's outputs for one picture -> its segments.

        threshold: least score of a segment; without effect on semantic ones, which have none.
        max_masks: most masks if they may overlap, the best ones.
        """


ROLES: Mapping[str, type[Role[Any]]] = {
    role.ROLE: role
    for role in (
        *(Embedder, MultimodalEmbedder, ImageEmbedder, Classifier),
        *(OpenDetector, Detector, Promptable, Segmenter),
    )
}
