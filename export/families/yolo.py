"""YOLOs as the ONNX files that ultralytics and super-gradients write.

ultralytics' code and weights are AGPL-3.0, and YOLO-NAS' weights bar managed services: neither is
part of this project. Whoever brings a file brings its licence.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export import onnx_detectors
from export.checkpoints import Checkpoint
from export.errors import InvalidCheckpoint, InvalidOption
from export.families import yolo_graph
from export.family import FamilyExport, Options
from export.network import Arrays, Network, sample_pixels
from export.onnx_detectors import OnnxDetector
from export.precision import Kept, Policy
from export.processor import Normalization
from fovea.families.yolo import YoloSpec
from fovea.specs import Tolerance

# ultralytics takes pixels within [0, 1].
SCALE = 1 / 255
GREY = 114
# The margin that super-gradients leaves: `DetectionLongestMaxSizeRescale` of 636 in 640.
NAS_MARGIN = 4
_BOXES_IN_PIXELS = Kept(
    "boxes in pixels of the canvas: half has 0.5 at 640",
    operators=("Sub", "Div", "Add", "Concat", "Slice", "Transpose"),
    nodes=(r"/dfl/",),
)


class Letterbox:
    """The picture in the middle of a grey canvas, as the upstream predictors draw it.

    image_hw: the canvas. content_hw: the part that the picture may fill.
    """

    def __init__(self, image_hw: tuple[int, int], content_hw: tuple[int, int]) -> None:
        self.image_hw, self.content_hw = image_hw, content_hw

    def __call__(self, picture: Image.Image, **_: Any) -> dict[str, NDArray[np.float32]]:
        """pixel_values float32 [1, 3, H, W] within [0, 1]."""
        pixels = np.asarray(picture.convert("RGB"))
        ratio = min(self.content_hw[0] / pixels.shape[0], self.content_hw[1] / pixels.shape[1])
        height, width = (max(1, round(edge * ratio)) for edge in pixels.shape[:2])
        resized = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        down, across = self.image_hw[0] - height, self.image_hw[1] - width
        padded = cv2.copyMakeBorder(
            resized,
            down // 2,
            down - down // 2,
            across // 2,
            across - across // 2,
            cv2.BORDER_CONSTANT,
            value=(GREY, GREY, GREY),
        )
        return {"pixel_values": padded.transpose(2, 0, 1)[None].astype(np.float32) * SCALE}


class _YoloExport(FamilyExport):
    """A checkpoint is one ONNX file."""

    POLICIES: ClassVar[dict[str, Policy]] = {
        "": Policy(
            kept=(_BOXES_IN_PIXELS,),
            quantized=(),
            quantized_reason="convolutions: int8 here takes matrix products alone",
            fp16=Tolerance(difference=2e-2),
            int8=Tolerance(),
        )
    }

    def files(self, path: Path) -> list[Path]:
        return [path]

    def check_files(self, name: str, family: str, path: Path) -> None:
        if path.suffix != onnx_detectors.SUFFIX:
            raise InvalidCheckpoint(f"{name}: expected an ONNX file for {family}, got {path}")
        self.check(onnx_detectors.read(path))

    def check(self, detector: OnnxDetector) -> None:
        """Raise InvalidCheckpoint, naming the upstream command that writes a valid file."""
        raise NotImplementedError

    def load_model(self, checkpoint: Checkpoint) -> OnnxDetector:
        return onnx_detectors.read(checkpoint.folder)

    def load_processor(self, checkpoint: Checkpoint) -> Letterbox:
        image_hw = self.image_hw(onnx_detectors.read(checkpoint.folder))
        return Letterbox(image_hw, self.content_hw(image_hw))

    def normalization(self, processor: Any) -> Normalization:
        return Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def image_hw(self, detector: OnnxDetector) -> tuple[int, int]:
        """Height and width of the picture that the file takes."""
        height, width = detector.shape[2:]
        if height is None or width is None:
            height, width = detector.setting("imgsz")
        return int(height), int(width)

    def content_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        """The part of the canvas that the picture may fill."""
        return image_hw

    def networks(self, role: Any, model: OnnxDetector, normal: Normalization) -> list[Network]:
        spec = role.image_network
        return [
            Network(
                spec,
                yolo_graph.Original(model, SCALE),
                partial(_sample_image, role.spec),
                variants=2,
                graph=partial(yolo_graph.graph, model, spec, SCALE),
            )
        ]


class Yolov8Export(_YoloExport):
    """ultralytics' detectors whose output is [4 + C, A]: YOLOv5u, v8, v9, 11, 12."""

    def check(self, detector: OnnxDetector) -> None:
        way_out = "write it anew: yolo export model=MODEL.pt format=onnx nms=False"
        path, names = detector.path, detector.setting("names")
        if detector.metadata.get("task") != "detect":
            raise InvalidCheckpoint(
                f"{path}: expected task=detect in the metadata of ultralytics, "
                f"got {detector.metadata.get('task')!r}; {way_out}"
            )
        if not isinstance(names, dict) or sorted(names) != list(range(len(names))) or not names:
            raise InvalidCheckpoint(
                f"{path}: expected names of classes in the metadata, got {names!r}; {way_out}"
            )
        shapes = [*detector.outputs.values()]
        fits = len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][1] in (4 + len(names), None)
        if detector.suppresses or not fits:
            raise InvalidCheckpoint(
                f"{path}: expected one output [N, {4 + len(names)}, A] without suppression in the "
                f"graph, got {detector.shown_outputs}; {way_out}"
            )

    def read_spec(
        self, checkpoint: Checkpoint, model: OnnxDetector, processor: Any, options: Options
    ) -> YoloSpec:
        image_hw, names = self.image_hw(model), model.setting("names")
        return YoloSpec(
            image_hw=image_hw,
            content_hw=image_hw,
            num_anchors=_answer(model, image_hw)[0].shape[2],
            class_names=tuple(str(names[index]) for index in sorted(names)),
        )


class YoloNasExport(_YoloExport):
    """super-gradients' YOLO-NAS; its files lack class names, so the deployment lists them."""

    OPTIONS: ClassVar[dict[str, type]] = {"names": str}

    def check(self, detector: OnnxDetector) -> None:
        shapes = [*detector.outputs.values()]
        fits = len(shapes) == 2 and all(len(shape) == 3 for shape in shapes) and shapes[0][2] == 4
        if detector.suppresses or not fits:
            raise InvalidCheckpoint(
                f"{detector.path}: expected boxes [N, A, 4] and scores [N, A, C] without "
                f"suppression in the graph, got {detector.shown_outputs}; write it anew: "
                "model.export('FILE.onnx', postprocessing=False)"
            )
        if None in detector.shape[2:]:
            raise InvalidCheckpoint(
                f"{detector.path}: expected a picture of one size, got {detector.shape}; "
                "write it anew: model.export('FILE.onnx', postprocessing=False, "
                "input_image_shape=(640, 640))"
            )

    def content_hw(self, image_hw: tuple[int, int]) -> tuple[int, int]:
        return image_hw[0] - NAS_MARGIN, image_hw[1] - NAS_MARGIN

    def read_spec(
        self, checkpoint: Checkpoint, model: OnnxDetector, processor: Any, options: Options
    ) -> YoloSpec:
        image_hw = self.image_hw(model)
        _, anchors, classes = _answer(model, image_hw)[1].shape
        return YoloSpec(
            image_hw=image_hw,
            content_hw=self.content_hw(image_hw),
            num_anchors=anchors,
            class_names=_names(checkpoint, options, classes),
        )


def _names(checkpoint: Checkpoint, options: Options, count: int) -> tuple[str, ...]:
    """Names of classes, as the deployment lists them; raises InvalidOption."""
    if "names" not in options:
        raise InvalidOption(
            f"{checkpoint.name}: the file has no names of its {count} classes: say them, "
            'as in { checkpoint = "…", names = "person, bicycle, …" }'
        )
    names = tuple(name.strip() for name in options["names"].split(","))
    if len(names) != count or not all(names):
        raise InvalidOption(
            f"{checkpoint.name}: expected names of {count} classes, got {len(names)}: {names}"
        )
    return names


def _answer(detector: OnnxDetector, image_hw: tuple[int, int]) -> list[NDArray[np.float32]]:
    """The file's answer to a grey picture: its shapes are not always written in it."""
    grey = np.full((3, *image_hw), GREY, np.uint8)
    return yolo_graph.Original(detector, SCALE).answer(grey)


def _sample_image(spec: YoloSpec, batch: int, variant: int) -> Arrays:
    """Pictures that fill the canvas, or only part of it."""
    height, width = spec.image_hw
    rng = np.random.default_rng((batch, variant))
    valid_hw = [(height, width), (height * 3 // 4, width)][variant]
    return {"pixel_values": sample_pixels(rng, (batch, 3, height, width), valid_hw)}
