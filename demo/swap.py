"""`python -m demo.swap`: measures other families in the demo's place.

Each deployment is exported, served by the real Triton and asked about held-out scenes. It exits
with 1 if served answers differ from the PyTorch reference.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import typer
from fovea_client import Client
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from demo import swap_alone
from demo.evaluate import (
    Trial,
    absent_is_rejected,
    box_is_found,
    iou_from_box,
    label_is_right,
    make_trial,
    mean,
    single_object_trials,
)
from demo.reference import Detection, Predictor, ReferencePipeline
from demo.served import ServedPredictor, demo_server, export_demo
from demo.swapped_reference import Owlv2Reference, SwappedReference
from demo.training import CHECKPOINTS_FOLDER
from demo.truth import BOX_PX, Agreement, agreement
from fovea.text import split_phrases

# Share of the scenes, or mask IoU, from which served and reference count as the same.
SAME = 0.99


class Owlv2InPlace(ReferencePipeline):
    """CLIP and SAM, with OWLv2 instead of GroundingDINO."""

    def __init__(self) -> None:
        super().__init__()
        self.owlv2 = Owlv2Reference(CHECKPOINTS_FOLDER / "owlv2")

    def detect(
        self,
        image: Image.Image,
        caption: str,
        *,
        box_threshold: float | None = None,
        text_threshold: float | None = None,
    ) -> list[Detection]:
        """Like GroundingDINO's; OWLv2 ignores text_threshold, since a query is a whole label."""
        return self.owlv2.detect(image, split_phrases(caption), box_threshold=box_threshold)


@dataclass(frozen=True)
class Case:
    """Verbs of a deployment that are measured together.

    Attributes:
        deployment: its name.
        reference: makes the reference for its answers.
        verbs: the deployment's names, by the verbs' own; others keep their own.
        note: tells the cases of one deployment apart.
    """

    deployment: str
    reference: Callable[[], Predictor]
    verbs: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def name(self) -> str:
        """The name in its row."""
        return f"{self.deployment}, {self.note}" if self.note else self.deployment


CASES = (
    Case("demo", ReferencePipeline),
    Case("demo-swapped", SwappedReference),
    Case("demo-side-by-side", ReferencePipeline, note="grounding_dino"),
    Case(
        "demo-side-by-side",
        Owlv2InPlace,
        {"main_object": "main_object_owlv2", "detect": "detect_owlv2"},
        note="owlv2",
    ),
)


@dataclass(frozen=True)
class Truth:
    """Served answers against the truth, as `demo.evaluate` defines each figure."""

    label_accuracy: float
    box_recall: float
    absent_rejection: float
    mask_iou_box: float


def truth_of(served: Predictor, trials: list[Trial], single: list[Trial]) -> Truth:
    """label_accuracy is over the scenes of a `single` object, the others are over `trials`."""
    return Truth(
        label_accuracy=mean(label_is_right(served, trial) for trial in single),
        box_recall=mean(box_is_found(served, trial) for trial in trials),
        absent_rejection=mean(absent_is_rejected(served, trial) for trial in trials),
        mask_iou_box=mean(iou_from_box(served, trial) for trial in trials),
    )


@dataclass(frozen=True)
class Row:
    """The figures of a case."""

    case: str
    agreed: Agreement
    truth: Truth

    @property
    def same(self) -> bool:
        """Whether served and reference answer the same."""
        agreed = self.agreed
        shares = (agreed.same_label, agreed.same_found, agreed.boxes_within, agreed.mask_iou)
        return all(share >= SAME for share in shares)


def measure(case: Case, client: Client, scenes: int) -> Row:
    """Measure a served case on `scenes` scenes."""
    served = ServedPredictor(client, case.verbs)
    trials = [make_trial(seed) for seed in range(scenes)]
    agreed = agreement(case.reference(), served, trials)
    return Row(case.name, agreed, truth_of(served, trials, single_object_trials(scenes)))


def run(scenes: int) -> list[Row]:
    """All cases, a server for each deployment."""
    rows = []
    for deployment in dict.fromkeys(case.deployment for case in CASES):
        repository = export_demo(deployment)
        with demo_server(repository) as server, Client(server.grpc_url) as client:
            cases = [case for case in CASES if case.deployment == deployment]
            rows += [measure(case, client, scenes) for case in track(cases, deployment)]
    return rows


def table_of(rows: list[Row], scenes: int) -> Table:
    """A row for each case."""
    table = Table(title=f"Served by Triton, on {scenes} held-out scenes", caption=(
        f"same_label to mask_iou: against the PyTorch reference, boxes within {BOX_PX:g} px; "
        "the rest: against the truth"
    ))  # fmt: skip
    figures = [asdict(row.agreed) | asdict(row.truth) for row in rows]
    for name in ("deployment", *figures[0]):
        table.add_column(name)
    for row, values in zip(rows, figures, strict=True):
        table.add_row(row.case, *(f"{value:.3f}" for value in values.values()))
    return table


def main(
    scenes: Annotated[int, typer.Option(min=1, help="Held-out scenes for each figure.")] = 300,
    json_path: Annotated[Path, typer.Option("--json", help="Where the figures go.")] = Path(
        "build/swap.json"
    ),
) -> None:
    """Measure the demo, the swapped families, two detectors side by side, and members alone."""
    torch.set_num_threads(1)
    rows, alone = run(scenes), swap_alone.run(scenes)
    figures = {row.case: asdict(row.agreed) | asdict(row.truth) for row in rows}
    record = {"scenes": scenes, "deployments": figures, "alone": [*map(asdict, alone)]}
    json_path.parent.mkdir(parents=True, exist_ok=True)
    json_path.write_text(json.dumps(record, indent=1) + "\n")
    console = Console()
    Console(width=max(150, console.width)).print(table_of(rows, scenes))
    console.print(swap_alone.table_of(alone, scenes))
    different = [row.case for row in rows if not row.same]
    different += [row.member for row in alone if not row.is_same]
    if different:
        console.print(f"served answers differ from the reference: {'; '.join(different)}")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
