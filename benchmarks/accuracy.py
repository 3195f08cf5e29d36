"""What the answers are worth: the demo world's truth beside the speed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fovea_client import Client

from benchmarks.pipelines import Side
from benchmarks.questions import to_question
from benchmarks.results import PipelineResult
from demo.evaluate import Trial, judge, make_trial, mean, measure
from demo.served import ServedPredictor

# demo.evaluate's figures by the ensemble that they judge, with short names.
FIGURES = {
    "main_object": {
        "label": "main_object_label_accuracy",
        "box": "main_object_box_recall",
        "mask IoU": "main_object_mask_iou",
    },
    "detect": {"found": "box_recall", "absent rejected": "absent_rejection"},
    "segment": {"mask IoU, box": "mask_iou_box", "mask IoU, point": "mask_iou_point"},
}


def trials(scenes: int) -> list[Trial]:
    """The first held-out scenes, as everywhere in the project."""
    return [make_trial(seed) for seed in range(scenes)]


def of_server(client: Client, scenes: Sequence[Trial]) -> dict[str, dict[str, float]]:
    """Per ensemble, through the client."""
    figures = measure(ServedPredictor(client), [*scenes], quiet=True)
    return {
        ensemble: {short: figures[name] for short, name in names.items()}
        for ensemble, names in FIGURES.items()
    }


def of_side(side: Side, scenes: Sequence[Trial]) -> dict[str, float]:
    """main_object by one side."""
    answers = side.ask([to_question(trial) for trial in scenes])
    judged = [judge(answer, trial) for answer, trial in zip(answers, scenes, strict=True)]
    return {
        "label": mean(one.label for one in judged),
        "box": mean(one.box for one in judged),
        "mask IoU": mean(one.mask_iou for one in judged),
    }


def judge_sides(
    results: Iterable[PipelineResult], sides: Sequence[Side], scenes: Sequence[Trial]
) -> list[PipelineResult]:
    """The results with each side's accuracy."""
    by_name = {side.name: side for side in sides}
    return [replace(r, accuracy=of_side(by_name[r.side], scenes)) for r in results]
