"""The served ensembles as a predictor, measured by the same code as the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fovea_client import Client, results
from fovea_server import EmbeddedServer, ServerOptions
from PIL import Image

from demo.reference import Box, Detection, LabelScore, MainObject, Segmentation
from export.deployments import Export, read_deployment, run

EXPORTS = Path("build/export")
EXPORT_FOLDER = EXPORTS / "demo"


def export_demo(deployment: str = "demo") -> Path:
    """The model repository of a deployment by name; exported again only if something changed."""
    export = Export(read_deployment(deployment), EXPORTS / deployment)
    run(export)
    return export.repository


@contextmanager
def demo_server(repository: Path | None = None, **more: Any) -> Iterator[EmbeddedServer]:
    """The demo's model repository on a real Triton, on free loopback ports.

    more: further ServerOptions.
    """
    options = ServerOptions(
        model_repository=repository or export_demo(),
        grpc_port=0,
        http_port=0,
        metrics_port=0,
        **more,
    )
    with EmbeddedServer(options) as server:
        yield server


def as_detections(found: results.Detections) -> list[Detection]:
    """A client's answer in the form of the references' answers."""
    rows = zip(found.boxes.tolist(), found.scores, found.phrases, strict=True)
    return [Detection(tuple(box), float(score), phrase) for box, score, phrase in rows]


def as_main_object(answer: results.MainObject) -> MainObject:
    """A client's answer in the form of the references' answers."""
    if answer.box is None or answer.mask is None:
        return MainObject(str(answer.label), float(answer.label_score or 0), found=False)
    return MainObject(
        str(answer.label),
        float(answer.label_score or 0),
        found=True,
        box_xyxy=tuple(answer.box.tolist()),
        box_score=answer.box_score,
        mask=answer.mask.to_numpy(),
        iou_score=answer.mask_score,
    )


class ServedPredictor:
    """A `demo.evaluate.Predictor` behind Triton.

    verbs: the deployment's names, by the verbs' own; see `fovea_client.Client`.
    """

    def __init__(self, client: Client, verbs: Mapping[str, str] | None = None) -> None:
        self.client = client
        self.verbs = verbs or {}

    def rank_labels(self, image: Image.Image, labels: list[str]) -> list[LabelScore]:
        """Candidates, best first."""
        scores = self._main_object(image, labels).label_scores
        return [LabelScore(label, score) for label, score in scores.items()]

    def detect(self, image: Image.Image, caption: str) -> list[Detection]:
        """Boxes above the server's own threshold, best first."""
        return as_detections(self.client.detect(image, caption, verb=self.verbs.get("detect")))

    def segment(
        self,
        image: Image.Image,
        *,
        boxes: list[Box] | None = None,
        points: list[tuple[float, float]] | None = None,
    ) -> list[Segmentation]:
        """One mask for each prompt."""
        verb = self.verbs.get("segment")
        found = self.client.segment(image, boxes=boxes, points=points, verb=verb)
        return [
            Segmentation(mask.to_numpy(), float(score))
            for mask, score in zip(found.masks, found.scores, strict=True)
        ]

    def main_object(self, image: Image.Image, labels: list[str]) -> MainObject:
        """Label, box and mask of the main object."""
        return as_main_object(self._main_object(image, labels))

    def _main_object(self, image: Image.Image, labels: list[str]) -> results.MainObject:
        return self.client.main_object(image, labels, verb=self.verbs.get("main_object"))
