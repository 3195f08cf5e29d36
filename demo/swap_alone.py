"""Serves a classifier and an embedder of pictures, which have verbs of their own.

Each is compared with its reference in PyTorch and with the truth, like the replacements in
`demo.swap`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fovea_client import Client
from PIL import Image
from rich.progress import track
from rich.table import Table

from demo import evaluate_classifier, neighbours
from demo.evaluate import Trial, mean, single_object_trials
from demo.served import demo_server, export_demo


@dataclass(frozen=True)
class Alone:
    """The figures of one member.

    same: the share of scenes that served and reference name alike; for vectors, the least cosine.
    label_accuracy: on scenes of a single thing, among all things.
    """

    member: str
    verb: str
    same: float
    label_accuracy: float
    least_same: float

    @property
    def is_same(self) -> bool:
        """Whether served and reference answer the same."""
        return self.same >= self.least_same


# A picture at a threshold between two classes may fall to either side.
SAME_LABELS = 0.99


def classifier(client: Client, trials: list[Trial]) -> Alone:
    """ConvNeXt in demo-classify."""
    reference, same, right = evaluate_classifier.reference(), [], []
    for trial in track(trials, "ConvNeXt"):
        label = client.classify(trial.image, top_k=1).labels[0]
        same.append(label == reference(trial.image))
        right.append(label == trial.scene.main.label)
    return Alone("convnext", "classify", mean(same), mean(right), SAME_LABELS)


def embedder(client: Client, trials: list[Trial], gallery: int = neighbours.GALLERY) -> Alone:
    """DINOv2 in demo-features; the nearest of `gallery` scenes give the label."""
    embed: Callable[[Image.Image], neighbours.Floats] = client.embed_image
    known = neighbours.make_gallery(embed, gallery)
    scenes = [trial.scene for trial in trials]
    right = neighbours.accuracy(known, embed, track(scenes, "DINOv2"))
    cosine = neighbours.least_cosine(neighbours.Dinov2Reference(), embed, scenes)
    return Alone("dinov2", "embed_image", cosine, right, neighbours.SAME_COSINE)


MEMBERS = {"demo-classify": classifier, neighbours.DEPLOYMENT: embedder}


def run(scenes: int) -> list[Alone]:
    """Measure all of them, with a server for each."""
    trials, rows = single_object_trials(scenes), []
    for deployment, measure in MEMBERS.items():
        with (
            demo_server(export_demo(deployment)) as server,
            Client(server.grpc_url) as client,
        ):
            rows.append(measure(client, trials))
    return rows


def table_of(rows: list[Alone], scenes: int) -> Table:
    """A row for each member."""
    caption = "same: labels equal to the reference's, for vectors the least cosine"
    table = Table(title=f"On {scenes} held-out scenes of one thing", caption=caption)
    for name in ("member", "verb", "same", "label_accuracy"):
        table.add_column(name)
    for row in rows:
        table.add_row(row.member, row.verb, f"{row.same:.4f}", f"{row.label_accuracy:.3f}")
    return table
