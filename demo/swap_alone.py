"""Serves the members that have verbs of their own: names, vectors, boxes and maps of things.

Each is compared with its reference in PyTorch and with the truth, like the replacements in
`demo.swap`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from fovea_client import Client
from PIL import Image
from rich.progress import track
from rich.table import Table

from demo import neighbours
from demo.closed_reference import RtDetrReference, SegformerReference, classifier
from demo.evaluate import make_trial, mean, single_object_trials
from demo.evaluate_closed import Overlap, best_of, is_found
from demo.pixels import class_map
from demo.reference import Detection
from demo.served import as_detections, demo_server, export_demo
from demo.truth import BOX_PX


@dataclass(frozen=True)
class Alone:
    """The figures of one member.

    same: the share of scenes with equal answers of server and reference, of pixels for a segmenter;
    for vectors, the least cosine.
    figure: what `truth` is. label_accuracy: on scenes of a single thing, among all things.
    box_recall, mean_iou: as `demo.evaluate_closed`.
    """

    member: str
    verb: str
    same: float
    figure: str
    truth: float
    least_same: float

    @property
    def is_same(self) -> bool:
        """Whether server and reference agree."""
        return self.same >= self.least_same


# A picture at a threshold between two classes may fall to either side.
SAME_ANSWERS = 0.99


def names(client: Client, scenes: int) -> Alone:
    """ConvNeXt in demo-classify."""
    reference, same, right = classifier(), [], []
    for trial in track(single_object_trials(scenes), "ConvNeXt"):
        label = client.classify(trial.image, top_k=1).labels[0]
        same.append(label == reference(trial.image))
        right.append(label == trial.scene.main.label)
    figure = "label_accuracy"
    return Alone("convnext", "classify", mean(same), figure, mean(right), SAME_ANSWERS)


def vectors(client: Client, scenes: int, gallery: int = neighbours.GALLERY) -> Alone:
    """DINOv2 in demo-features; the nearest of `gallery` scenes give the label."""
    embed: Callable[[Image.Image], neighbours.Floats] = client.embed_image
    known = neighbours.make_gallery(embed, gallery)
    asked = [trial.scene for trial in single_object_trials(scenes)]
    right = neighbours.accuracy(known, embed, track(asked, "DINOv2"))
    cosine = neighbours.least_cosine(neighbours.Dinov2Reference(), embed, asked)
    figure = "label_accuracy"
    return Alone("dinov2", "embed_image", cosine, figure, right, neighbours.SAME_COSINE)


def _is_same(one: Detection | None, other: Detection | None) -> bool:
    """Whether both are None, or their boxes differ by BOX_PX at most."""
    if one is None or other is None:
        return one is other
    return bool(np.abs(np.subtract(one.box_xyxy, other.box_xyxy)).max() <= BOX_PX)


def boxes(client: Client, scenes: int) -> Alone:
    """RT-DETR in demo-scenes; the best box of the named thing counts."""
    reference, same, right = RtDetrReference(), [], []
    for trial in track([make_trial(seed) for seed in range(scenes)], "RT-DETR"):
        served = as_detections(client.detect(trial.image))
        label, expected = trial.named.label, reference(trial.image)
        same.append(_is_same(best_of(served, label), best_of(expected, label)))
        right.append(is_found(served, trial))
    return Alone("rt_detr", "detect", mean(same), "box_recall", mean(right), SAME_ANSWERS)


def pixels(client: Client, scenes: int) -> Alone:
    """SegFormer in demo-scenes."""
    reference, same, overlap = SegformerReference(), [], Overlap()
    for trial in track([make_trial(seed) for seed in range(scenes)], "SegFormer"):
        served = client.segment_scene(trial.image, label_map=True).label_map
        assert served is not None
        same.append(float((served == reference(trial.image)).mean()))
        overlap.add(class_map(trial.scene), served)
    figure = "mean_iou"
    truth = overlap.mean_iou
    return Alone("segformer", "segment_scene", mean(same), figure, truth, SAME_ANSWERS)


Measure = Callable[[Client, int], Alone]
MEMBERS: dict[str, tuple[Measure, ...]] = {
    "demo-classify": (names,),
    neighbours.DEPLOYMENT: (vectors,),
    "demo-scenes": (boxes, pixels),
}


def run(scenes: int) -> list[Alone]:
    """Measure all of them, with a server for each deployment."""
    rows: list[Alone] = []
    for deployment, measures in MEMBERS.items():
        with (
            demo_server(export_demo(deployment)) as server,
            Client(server.grpc_url) as client,
        ):
            rows += [measure(client, scenes) for measure in measures]
    return rows


def table_of(rows: list[Alone], scenes: int) -> Table:
    """A row for each member."""
    caption = (
        "same: answers equal to the reference's, for vectors the least cosine; "
        "label_accuracy: on scenes of one thing"
    )
    table = Table(title=f"On {scenes} held-out scenes", caption=caption)
    for name in ("member", "verb", "same", "figure", "truth"):
        table.add_column(name)
    for row in rows:
        figures = f"{row.same:.4f}", row.figure, f"{row.truth:.3f}"
        table.add_row(row.member, row.verb, *figures)
    return table
