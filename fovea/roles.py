"""What a model can do, in the field's own names of tasks: the contract between families and verbs.

| role | takes | gives |
| --- | --- | --- |
| embedder | a picture, or a text | a vector of length 1; scores of labels for a picture |
| image_embedder | a picture | a vector of length 1 |
| classifier | a picture | a score of each of its own classes |
| open_detector | a picture and labels | boxes, each with one of the labels |
| detector | a picture | boxes, each of one of the checkpoint's classes |
| promptable | a picture, and points or boxes | one mask a prompt |
| segmenter | a picture | segments: masks, each of one of its classes |

A family (`fovea.families`) is how one architecture plays its role, a member one checkpoint of it
under the user's name. Verbs know roles alone, never families.
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
from fovea.segments import Segments
from fovea.specs import ModelSpec, TensorSpec

Arrays = dict[str, NDArray[Any]]

# What every network calls its picture, and the part of it that is picture.
PIXEL_VALUES = "pixel_values"
VALID_HW = "valid_hw"
TOKENIZER = "tokenizer.json"

# The picture's (height, width) as it was sent, and prompts in its pixels: `fovea.prompts`.
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
    """A family as one member of it: `name` is the member's, `spec` what its checkpoint fixes.

    ROLE: the role's name. Spec: a frozen dataclass of numbers, strings and tuples. FILES: of the
    checkpoint, those that its steps read.
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
        """What Triton calls a network of this member; a single one has the member's name."""
        return f"{self.name}_{part}" if part else self.name

    def part(self, network: str) -> str:
        """The inverse of `network_name`."""
        return network[len(self.name) + 1 :]

    def file(self, folder: Path, name: str) -> Path:
        """Where a file of the checkpoint lies beside a step."""
        return folder / f"{self.name}_{name}"


class Tokens(Protocol):
    """A text as an embedder's text network takes it."""

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
        """What `Tokens.encode` gives -> text_embeds float32 [D] of length 1."""

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


class Classifier(Role[S]):
    """Which of its own classes a picture shows.

    Its `spec` has class_names, in the order of the logits, and top_k, how many are told unless the
    caller says.
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
        label_indices: int32 [N], places in the list of labels that was sent, or class ids.
        words: N strings, those words of the label that the box answers, or names of classes.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    label_indices: NDArray[np.int32]
    words: list[str]


class LabelWriter(Protocol):
    """Labels as an open detector takes them."""

    def write(self, labels: Mapping[int, str]) -> Arrays:
        """The detector's `text_tensors`, of labels by their index; raises InvalidText."""

    def check(self, labels: Sequence[str]) -> None:
        """Raise InvalidText unless each label, asked alone, has room."""


@dataclass(frozen=True)
class Selection:
    """How boxes are chosen.

    Attributes:
        box_threshold: from which score a box counts.
        max_boxes: so many at most.
        text_threshold: of the words that it answers, where words are asked.
    """

    box_threshold: float
    max_boxes: int
    text_threshold: float = 0.0


class OpenDetector(Role[S]):
    """Boxes for labels that it has never heard of.

    Its `spec` has box_threshold and text_threshold, the defaults.
    """

    ROLE = "open_detector"
    FILES = (TOKENIZER,)

    @property
    @abstractmethod
    def image_network(self) -> ModelSpec:
        """The network that takes pixel_values, and those of the `text_tensors` that it names."""

    @property
    def text_network(self) -> ModelSpec | None:
        """The network that embeds labels, where that is one of its own."""
        return None

    @property
    def networks(self) -> tuple[ModelSpec, ...]:
        found = (self.image_network, self.text_network)
        return tuple(network for network in found if network is not None)

    @property
    @abstractmethod
    def text_tensors(self) -> tuple[TensorSpec, ...]:
        """What `LabelWriter.write` gives."""

    @property
    @abstractmethod
    def finish_tensors(self) -> tuple[TensorSpec, ...]:
        """What `select` takes: outputs of the network, and some of the `text_tensors`."""

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

        labels: all that were sent. embed: the text network's answer to a batch of its inputs.
        """


class Detector(Role[S]):
    """Boxes of the classes that the checkpoint was trained on.

    Its `spec` has class_names, by class id, and box_threshold, the default.
    """

    ROLE = "detector"

    @property
    @abstractmethod
    def image_network(self) -> ModelSpec:
        """pixel_values -> what `select` takes."""

    @property
    def finish_tensors(self) -> tuple[TensorSpec, ...]:
        """What `select` takes: outputs of the network."""
        return self.image_network.outputs

    @abstractmethod
    def select(
        self, answer: Arrays, original_hw: tuple[int, int], selection: Selection
    ) -> Detections:
        """The `finish_tensors` of one picture -> its boxes."""


AnyDetector: TypeAlias = OpenDetector[Any] | Detector[Any]


class Promptable(Role[S]):
    """Masks of what points and boxes mean.

    Its `spec` has points_per_side, iou_threshold and stability_threshold: the defaults of what
    counts as an object where everything is asked for (`fovea.everything`).
    """

    ROLE = "promptable"

    @property
    @abstractmethod
    def image_network(self) -> ModelSpec:
        """pixel_values, valid_hw -> what the decoder needs of a picture."""

    @property
    @abstractmethod
    def decoder(self) -> ModelSpec:
        """A picture's embedding and P prompts -> low_res_masks [P, M, M], iou_scores [P].

        point_coords are in pixels of the original picture (original_size_hw), valid_hw is the
        part of the canvas that is picture. Masks are logits in the frame of the canvas, one a
        prompt: a box or several points mean one thing; a single point is ambiguous and gets the
        best scored of three (segment-anything, `multimask_output`).
        """

    @property
    @abstractmethod
    def grid_decoder(self) -> ModelSpec:
        """A picture's embedding and P single points -> all three masks of each, and their worth.

        grid_points [P, 2], valid_hw and original_size_hw are as the decoder's. iou_scores [P, 3];
        stability [P, 3] within [0, 1]; areas [P, 3] and mask_boxes xyxy [P, 3, 4] in pixels of the
        original picture; low_res_masks [P, 3, M, M], large, to be asked for few points only.
        """

    @property
    def networks(self) -> tuple[ModelSpec, ...]:
        return self.image_network, self.decoder, self.grid_decoder

    @abstractmethod
    def encode_mask(self, mask: NDArray[np.float32], original_hw: tuple[int, int]) -> bytes:
        """Logits [M, M] -> COCO RLE counts of a mask of the original picture."""

    @abstractmethod
    def mask_within(
        self,
        mask: NDArray[np.float32],
        original_hw: tuple[int, int],
        square: tuple[float, float, float, float],
        edge: int,
    ) -> NDArray[np.bool_]:
        """Logits [M, M] -> the mask in a square of the original picture, bool [edge, edge].

        square: xyxy in original pixels; what of it is beyond the picture has no mask.
        """


class Segmenter(Role[S]):
    """What a scene is made of: segments, each of one of the classes that it was trained on.

    Its `spec` has class_names, by class id; task: semantic (a segment a class, and each pixel in
    one), instance (things, which may overlap) or panoptic (things and stuff, apart); and
    threshold, the default.
    """

    ROLE = "segmenter"

    @property
    @abstractmethod
    def image_network(self) -> ModelSpec:
        """pixel_values -> what `segments` takes."""

    @abstractmethod
    def segments(
        self, answer: Arrays, original_hw: tuple[int, int], *, threshold: float, max_masks: int
    ) -> Segments:
        """The network's outputs for one picture -> its segments.

        threshold: of a segment's score; without effect on semantic ones, which have none.
        max_masks: so many at most where masks may overlap, the best.
        """


ROLES: Mapping[str, type[Role[Any]]] = {
    role.ROLE: role
    for role in (
        *(Embedder, ImageEmbedder, Classifier, OpenDetector, Detector),
        *(Promptable, Segmenter),
    )
}
