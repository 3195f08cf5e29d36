"""The verbs as blocking methods, for any kind of client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fovea_client import batches, objects, prompts, recordings, scenes, verbs
from fovea_client.batches import DEFAULT_CONCURRENCY, Outcome, Pictures, Progress
from fovea_client.classification import Classification, Question
from fovea_client.connection import READY_TIMEOUT_S
from fovea_client.description import Description
from fovea_client.errors import FoveaError
from fovea_client.images import Picture
from fovea_client.objects import Objects
from fovea_client.recordings import Grey, Motion, Sound
from fovea_client.results import Detections, MainObject, Segmentation, SegmentedDetections
from fovea_client.scenes import SceneSegmentation
from fovea_client.verbs import Steps

T = TypeVar("T")
Self = TypeVar("Self", bound="BlockingVerbs")


class BlockingVerbs(ABC):
    """What `Client` and `LocalClient` share; a subclass says how a verb's steps are answered."""

    def main_object(
        self,
        image: Picture,
        labels: str | Iterable[str] | None = None,
        *,
        description: str | None = None,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        timeout_s: float | None = None,
        verb: str | None = None,
        detect_verb: str | None = None,
    ) -> MainObject:
        """Which of the labels the picture is about, with its box and mask.

        labels: each is taken literally, "St. Bernard" too; one string is split at its '.'. Instead,
        pass a description: the words in it that name a box in the picture become the labels (one
        more request). The answer has one of the labels, and its index.
        box_threshold, text_threshold: the detector's, within [0, 1]; None is the server's own. The
        first is the least score of a box, the second the least score of a word that names it in a
        description.
        If nothing is found, the answer has `found=False`; that is no error.
        verb: its name in the deployment, if that is not `main_object`; UnknownVerb for a name that
        is not served. All methods take it.
        detect_verb: the same for the verb that finds a description's words, if that is not
        `detect`; use one with the same detector as `verb`.
        """
        data = self._encode(image)
        steps = verbs.main_object(
            data, labels, description, box_threshold, text_threshold, verb, detect_verb
        )
        return self._run(steps, timeout_s)

    def detect(
        self,
        image: Picture,
        phrases: str | Iterable[str] | None = None,
        *,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        timeout_s: float | None = None,
        verb: str | None = None,
    ) -> Detections:
        """Boxes of the named things, each with one of the phrases; labels as in `main_object`.

        Without phrases, the detector must have its own classes: each box then has the name and the
        id of one. InvalidText if phrases and detector do not match.
        Only box_threshold decides which boxes count. Each has the phrase with its most probable
        token: always one of those given.
        """
        steps = verbs.detect(self._encode(image), phrases, box_threshold, text_threshold, verb)
        return self._run(steps, timeout_s)

    def detect_and_segment(
        self,
        image: Picture,
        phrases: str | Iterable[str] | None = None,
        *,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        timeout_s: float | None = None,
        verb: str | None = None,
    ) -> SegmentedDetections:
        """The boxes of `detect`, and the mask in each."""
        data = self._encode(image)
        steps = verbs.detect_and_segment(data, phrases, box_threshold, text_threshold, verb)
        return self._run(steps, timeout_s)

    def segment(
        self,
        image: Picture,
        *,
        boxes: ArrayLike | None = None,
        points: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        timeout_s: float | None = None,
        verb: str | None = None,
    ) -> Segmentation:
        """A mask for each prompt, in pixels of the original picture.

        boxes: xyxy, [4] or [P, 4], one per prompt. points: xy, [2] or [P, 2], one per prompt, or
        [P, K, 2], K points in each prompt. point_labels: 1 (on the thing, the default) or 0
        (beside it) for each point. With boxes and points, prompt i has box i and points i.
        """
        steps = verbs.segment(self._encode(image), boxes, points, point_labels, verb)
        return self._run(steps, timeout_s)

    def segment_everything(
        self,
        image: Picture,
        *,
        points_per_side: int | None = None,
        iou_threshold: float | None = None,
        stability_threshold: float | None = None,
        min_area: int | None = None,
        min_piece: float | None = None,
        max_objects: int | None = None,
        full_size: bool | None = None,
        timeout_s: float | None = None,
        verb: str | None = None,
    ) -> Objects:
        """The mask of every object that a grid of points hits, the surest first.

        points_per_side: points along each edge of the picture. iou_threshold, stability_threshold:
        the least values of a mask, within [0, 1]. min_area: least pixels of a mask. min_piece:
        connected pieces with less than this share of their mask are dropped. max_objects: most
        objects. full_size: judge masks at the picture's size, as transformers does, which takes
        time. None is the server's own, which comes with its SAM.
        """
        inputs = objects.to_inputs(
            self._encode(image),
            points_per_side,
            iou_threshold,
            stability_threshold,
            min_area,
            min_piece,
            max_objects,
            full_size,
        )
        return self._run(verbs.segment_everything(inputs, verb), timeout_s)

    def embed_objects(
        self,
        image: Picture,
        *,
        points_per_side: int | None = None,
        iou_threshold: float | None = None,
        stability_threshold: float | None = None,
        min_area: int | None = None,
        min_piece: float | None = None,
        max_objects: int | None = None,
        full_size: bool | None = None,
        timeout_s: float | None = None,
        verb: str | None = None,
    ) -> Objects:
        """`segment_everything`, with the embedder's vectors of each object and of the picture."""
        inputs = objects.to_inputs(
            self._encode(image),
            points_per_side,
            iou_threshold,
            stability_threshold,
            min_area,
            min_piece,
            max_objects,
            full_size,
        )
        return self._run(verbs.embed_objects(inputs, verb), timeout_s)

    def segment_scene(
        self,
        image: Picture,
        *,
        threshold: float | None = None,
        label_map: bool = False,
        timeout_s: float | None = None,
        verb: str | None = None,
    ) -> SceneSegmentation:
        """The parts of the scene: masks, each of one of the segmenter's own classes.

        threshold: least score of a segment, within [0, 1]; None is the server's own. A semantic
        segmenter, whose segments are classes, has no scores. label_map: whether the answer also has
        the label of each pixel.
        """
        inputs = scenes.to_inputs(self._encode(image), threshold, label_map=label_map)
        return self._run(verbs.segment_scene(inputs, verb), timeout_s)

    def classify(
        self,
        image: Picture,
        labels: str | Iterable[str] | None = None,
        *,
        template: str | None = None,
        top_k: int | None = None,
        timeout_s: float | None = None,
        verb: str | None = None,
    ) -> Classification:
        """The labels that the picture shows, best first.

        labels: as in `main_object`; the server's embedder ranks them. None: a classifier with its
        own classes answers. The deployment decides which of the two `classify` takes; InvalidText
        for the other. template: a text with {} for each label, such as "This is a photo of {}.";
        answers have the bare labels. top_k: most labels; None is all labels, or the classifier's
        default.
        """
        question = Question.of(labels, template, top_k)
        return self._run(verbs.classify(self._encode(image), question, verb), timeout_s)

    def embed_image(
        self, image: Picture, *, timeout_s: float | None = None, verb: str | None = None
    ) -> NDArray[np.float32]:
        """The embedder's vector of a picture, float32 [d], of length 1."""
        return self._run(verbs.embed_image(self._encode(image), verb), timeout_s)

    def embed_text(
        self, text: str, *, timeout_s: float | None = None, verb: str | None = None
    ) -> NDArray[np.float32]:
        """The embedder's vector of a text, taken literally, float32 [d], of length 1."""
        return self._run(verbs.embed_text(text, verb), timeout_s)

    def embed_audio(
        self, audio: Sound, *, timeout_s: float | None = None, verb: str | None = None
    ) -> NDArray[np.float32]:
        """The embedder's vector of a sound, float32 [d], of length 1.

        audio: a WAV file or its bytes, or floats [N] or [channels, N] within [-1, 1]; 16,000
        samples a second.
        """
        steps = verbs.embed_modality("audio", recordings.encode_sound(audio), verb)
        return self._run(steps, timeout_s)

    def embed_depth(
        self, depth: Grey, *, timeout_s: float | None = None, verb: str | None = None
    ) -> NDArray[np.float32]:
        """The embedder's vector of a depth picture, float32 [d], of length 1.

        depth: a grey PNG of 8 or 16 bits or its bytes, or a Pillow picture, with values that
        become [0, 1]; or floats [H, W], sent unchanged. ImageBind takes 224 x 224 pixels.
        """
        steps = verbs.embed_modality("depth", recordings.to_grey("depth", depth), verb)
        return self._run(steps, timeout_s)

    def embed_thermal(
        self, thermal: Grey, *, timeout_s: float | None = None, verb: str | None = None
    ) -> NDArray[np.float32]:
        """Like `embed_depth`, for a thermal picture."""
        steps = verbs.embed_modality("thermal", recordings.to_grey("thermal", thermal), verb)
        return self._run(steps, timeout_s)

    def embed_imu(
        self, imu: Motion, *, timeout_s: float | None = None, verb: str | None = None
    ) -> NDArray[np.float32]:
        """The embedder's vector of an IMU recording, float32 [d], of length 1.

        imu: numbers, or a .npy file of them; ImageBind takes [6, 2000].
        """
        steps = verbs.embed_modality("imu", recordings.to_motion(imu), verb)
        return self._run(steps, timeout_s)

    def main_object_many(
        self,
        pictures: Pictures,
        labels: str | Iterable[str] | None = None,
        *,
        description: str | None = None,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
        timeout_s: float | None = None,
        verb: str | None = None,
        detect_verb: str | None = None,
        concurrency: int = DEFAULT_CONCURRENCY,
        ordered: bool = True,
        progress: Progress | None = None,
    ) -> Generator[Outcome[MainObject], None, None]:
        """`main_object` for a folder or many pictures; see `map`."""
        asked = None if labels is None else prompts.to_labels(labels)

        def call(image: Picture) -> MainObject:
            return self.main_object(
                image,
                asked,
                description=description,
                box_threshold=box_threshold,
                text_threshold=text_threshold,
                timeout_s=timeout_s,
                verb=verb,
                detect_verb=detect_verb,
            )

        return self.map(call, pictures, concurrency=concurrency, ordered=ordered, progress=progress)

    def map(
        self,
        call: Callable[[Picture], T],
        pictures: Pictures,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        ordered: bool = True,
        progress: Progress | None = None,
    ) -> Generator[Outcome[T], None, None]:
        """`call(picture)` for each picture of a folder or an iterable, a few at a time.

        >>> cats = client.map(lambda image: client.detect(image, "cat."), "photos/")

        The iterable is read as slots get free. Outcomes come in input order unless `ordered` is
        False. A picture that fails has its error as its outcome, and the others go on.
        progress(done, total) is called before each outcome; total is None if unknown.
        """
        return batches.map_pictures(
            call, pictures, concurrency=concurrency, ordered=ordered, progress=progress
        )

    def is_ready(self, *, timeout_s: float = READY_TIMEOUT_S) -> bool:
        """Whether `check_ready` succeeds; False instead of an error."""
        try:
            self.check_ready(timeout_s=timeout_s)
        except FoveaError:
            return False
        return True

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def check_ready(self, *, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Raise the reason unless verbs can be called."""

    @abstractmethod
    def describe(self, verb: str, *, timeout_s: float = READY_TIMEOUT_S) -> Description:
        """The members behind a verb; raises UnknownVerb."""

    @abstractmethod
    def verbs(self, *, timeout_s: float = READY_TIMEOUT_S) -> tuple[Description, ...]:
        """All verbs, with their members."""

    @abstractmethod
    def close(self) -> None:
        """Make calls raise Unavailable from now on."""

    @abstractmethod
    def _run(self, steps: Steps[T], timeout_s: float | None) -> T:
        """The result of a verb."""

    @abstractmethod
    def _encode(self, image: Picture) -> bytes:
        """The picture as encoded bytes."""
