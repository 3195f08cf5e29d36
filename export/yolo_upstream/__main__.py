"""What the upstream packages answer, and how long their networks take, as JSON.

    python export/yolo_upstream answers OUT PICTURE…
    python export/yolo_upstream speed FILE GRAPH OUT

Runs in its own environment with ultralytics and super-gradients (`make families-yolo`), imports
nothing of this project, and nothing of this project imports it. Both packages get random weights;
each file is exported by the package itself, and run by the package's own predictor.
"""

import functools
import json
import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch

# torchvision's operators are missing if it was built for another torch.
library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


def _nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Greedy: keep a box unless it overlaps a better kept one by more."""
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    keep: list[int] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        low = torch.maximum(boxes[index, :2], boxes[keep, :2])
        high = torch.minimum(boxes[index, 2:], boxes[keep, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        if not (shared / (area[index] + area[keep] - shared) > iou_threshold).any():
            keep.append(index)
    return torch.tensor(keep, dtype=torch.int64)


library.impl("nms", _nms, "CPU")
import torchvision.extension  # noqa: E402

torchvision.extension._has_ops = lambda: True
# Newer torch has another exporter, which these packages do not know.
torch.onnx.export = functools.partial(torch.onnx.export, dynamo=False)
warnings.simplefilter("ignore")

IMAGE = 640
CLASSES = 5
BOXES = 60  # of each picture count, as far as a threshold can say
ROUNDS = 7


def _noisy(model: torch.nn.Module, noise: float) -> None:
    """Random weights whose answers differ from place to place, and from class to class."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))


def _threshold(scores: np.ndarray) -> float:
    """A threshold below the picture's BOXES best scores, and away from all scores."""
    ordered = np.sort(scores.reshape(-1))[::-1]
    return float((ordered[BOXES - 1] + ordered[BOXES]) / 2)


def ultralytics(out: Path, pictures: list[Path]) -> list[dict]:
    """A static and a dynamic file, and the answers of `YOLO(file).predict` to each picture."""
    import onnxruntime
    from ultralytics import YOLO
    from ultralytics.data.augment import LetterBox

    found = []
    for dynamic in (False, True):
        model = YOLO("yolov8n.yaml")
        _noisy(model.model, 0.05)
        written = Path(model.export(format="onnx", imgsz=IMAGE, opset=18, dynamic=dynamic))
        path = written.rename(out / f"yolov8{'-dynamic' if dynamic else ''}.onnx")
        session, predictor = onnxruntime.InferenceSession(str(path)), YOLO(path, task="detect")
        for picture in pictures:
            bgr = np.ascontiguousarray(np.load(picture)[..., ::-1])
            canvas = LetterBox((IMAGE, IMAGE))(image=bgr)[..., ::-1].transpose(2, 0, 1)[None]
            [raw] = session.run(None, {"images": (canvas / 255).astype(np.float32)})
            threshold = _threshold(raw[0, 4:].max(axis=0))
            [said] = predictor.predict(
                bgr, imgsz=IMAGE, conf=threshold, iou=0.7, rect=False, verbose=False
            )
            answer = said.boxes
            found.append(_row(path, picture, threshold, answer.xyxy, answer.conf, answer.cls))
    return found


def super_gradients(out: Path, pictures: list[Path]) -> list[dict]:
    """A file, and the answers of `model.predict` to each picture."""
    from super_gradients.training import models
    from super_gradients.training.processing.processing import (
        default_yolo_nas_coco_processing_params,
    )

    model = models.get("yolo_nas_s", num_classes=CLASSES, pretrained_weights=None)
    _noisy(model, 0.02)
    settings = default_yolo_nas_coco_processing_params()
    settings["class_names"] = [f"class {index}" for index in range(CLASSES)]
    model.eval().set_dataset_processing_params(**settings)
    path = out / "yolo_nas.onnx"
    model.export(str(path), postprocessing=False, input_image_shape=(IMAGE, IMAGE))
    found = []
    for picture in pictures:
        rgb = np.load(picture)
        ready, _ = settings["image_processor"].preprocess_image(rgb.copy())
        with torch.no_grad():
            (_, scores), _ = model(torch.from_numpy(np.ascontiguousarray(ready))[None].float())
        threshold = _threshold(scores[0].numpy())
        said = model.predict(rgb, conf=threshold, fuse_model=False).prediction
        row = (said.bboxes_xyxy, said.confidence, said.labels)
        found.append(_row(path, picture, threshold, *map(torch.as_tensor, row)))
    return found


def _row(path: Path, picture: Path, threshold: float, boxes, scores, classes) -> dict:
    return {
        "file": path.name,
        "picture": picture.name,
        "threshold": threshold,
        "boxes": boxes.tolist(),
        "scores": scores.tolist(),
        "classes": [int(index) for index in classes.tolist()],
    }


def _as_served_by_its_package(file: str) -> torch.nn.Module:
    """The network of a file, with its convolutions and norms fused, as the package predicts."""
    if file.startswith("yolov8"):
        from ultralytics import YOLO

        return YOLO("yolov8n.yaml").model.eval().fuse()
    from super_gradients.training import models

    model = models.get("yolo_nas_s", num_classes=CLASSES, pretrained_weights=None).eval()
    model.prep_model_for_conversion(input_size=(1, 3, IMAGE, IMAGE))
    return model


def speed(file: str, graph: Path) -> dict[str, float]:
    """Median milliseconds of one picture: the package's network in PyTorch eager, and a graph that
    takes uint8 pixels, in turns."""
    import onnxruntime

    model, session = _as_served_by_its_package(file), onnxruntime.InferenceSession(str(graph))
    [given] = session.get_inputs()
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, IMAGE, IMAGE), np.uint8)
    ready = torch.from_numpy(pixels).float() / 255
    sides = {
        "onnxruntime_ms": lambda: session.run(None, {given.name: pixels}),
        "pytorch_ms": lambda: model(ready),
    }
    times = {name: [] for name in sides}
    with torch.inference_mode():
        for _ in range(ROUNDS + 1):
            for name, call in sides.items():
                start = time.perf_counter()
                call()
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: round(statistics.median(took[1:]), 1) for name, took in times.items()}


if __name__ == "__main__":
    if sys.argv[1] == "speed":
        result = speed(sys.argv[2], Path(sys.argv[3]))
        Path(sys.argv[4]).write_text(json.dumps(result) + "\n")
    else:
        folder, names = Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]]
        rows = ultralytics(folder, names) + super_gradients(folder, names)
        (folder / "upstream.json").write_text(json.dumps(rows) + "\n")
