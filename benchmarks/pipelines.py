"""main_object as a whole, by the server and by what it is compared with, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from fovea_client import Client

from benchmarks.baselines import DirectEnsemble, Tensors
from benchmarks.exports import Exported
from benchmarks.figures import Budget, Spread
from benchmarks.questions import Question, to_question
from benchmarks.results import PipelineResult
from demo.evaluate import Trial, judge, make_trial, mean, measure
from demo.reference import MainObject, ReferencePipeline
from demo.served import ServedPredictor
from export.timing import in_turn
from fovea.local import Runner
from fovea.masks import decode_rle

SERVED, TRANSFORMERS = "served", "transformers"
# Questions of one turn; those of the next round begin after so many.
_MOST = 10_000
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


class Side(Protocol):
    """Answers many questions, `batch` at a time."""

    name: str
    batch: int

    def ask(self, questions: Sequence[Question]) -> Sequence[MainObject]: ...


class PlainSide:
    """transformers, picture by picture."""

    name, batch = TRANSFORMERS, 1

    def __init__(self, pipeline: ReferencePipeline) -> None:
        self.pipeline = pipeline

    def ask(self, questions: Sequence[Question]) -> list[MainObject]:
        return [self.pipeline.main_object(q.image, q.labels) for q in questions]


class DirectSide:
    """The ensemble's steps and networks in this process, a batch at a time."""

    def __init__(
        self, name: str, exported: Exported, runners: Mapping[str, Runner], batch: int
    ) -> None:
        self.name, self.batch = name, batch
        self._ensemble = DirectEnsemble("main_object", exported, runners)

    def ask(self, questions: Sequence[Question]) -> list[MainObject]:
        answers: list[MainObject] = []
        for start in range(0, len(questions), self.batch):
            requests = [_to_row(question) for question in questions[start : start + self.batch]]
            answers += [_to_answer(row) for row in self._ensemble(requests)]
        return answers


class ServedSide:
    """Triton through the client, by so many callers at once."""

    name = SERVED

    def __init__(self, client: Client, callers: int) -> None:
        self.batch = callers
        self._predictor = ServedPredictor(client)

    def ask(self, questions: Sequence[Question]) -> list[MainObject]:
        def call(question: Question) -> MainObject:
            return self._predictor.main_object(question.jpeg, question.labels)

        with ThreadPoolExecutor(self.batch) as pool:
            return [*pool.map(call, questions)]


def _to_row(question: Question) -> Tensors:
    labels = [label.encode() for label in question.labels]
    return {"IMAGE": np.array([question.jpeg], object), "TEXT": np.array(labels, object)}


def _to_answer(row: Tensors) -> MainObject:
    label = row["LABEL"][0].decode()
    score = float(row["LABEL_SCORES"].max())
    if not len(row["BOXES"]):
        return MainObject(label, score, found=False)
    height, width = row["IMAGE_SIZE"].tolist()
    return MainObject(
        label,
        score,
        found=True,
        box_xyxy=tuple(row["BOXES"][0].tolist()),
        box_score=float(row["SCORES"][0]),
        mask=decode_rle(row["MASKS"][0], (height, width)),
        iou_score=float(row["MASK_SCORES"][0]),
    )


@dataclass(frozen=True)
class Contest:
    """Rounds in which every side answers for about `seconds` questions that none had before."""

    sides: Sequence[Side]
    rounds: int
    seconds: float
    say: Callable[[str], None] = lambda what: None

    def run(
        self, ask: Callable[[int, int], Sequence[Question]], budget: Budget
    ) -> list[PipelineResult]:
        """Each side's pictures per second, and the served one's over its, by round.

        ask(first, count) makes the questions. A round that the time does not allow for every side
        is left out for all.
        """
        sides = {side.name: side for side in self.sides}
        rates: dict[str, list[float]] = {name: [] for name in sides}
        known: dict[str, float] = {}
        for name, side in sides.items():
            self.say(f"main_object by {name}: warm-up")
            known[name] = _rate(side, ask(0, side.batch))
        for index in range(self.rounds):
            counts = {name: self._count(side, known[name]) for name, side in sides.items()}
            expected_s = sum(count / known[name] for name, count in counts.items())
            if index and not budget.allows(expected_s, f"main_object: round {index + 1} of all"):
                break
            for name in in_turn([*sides], index):
                self.say(f"main_object by {name}: round {index + 1}")
                known[name] = _rate(sides[name], ask(_MOST * (index + 1), counts[name]))
                rates[name].append(known[name])
        return [
            PipelineResult(
                side=name,
                batch=side.batch,
                pictures_per_s=Spread.of(rates[name]),
                ratio=Spread.of(s / r for s, r in zip(rates[SERVED], rates[name], strict=True)),
            )
            for name, side in sides.items()
        ]

    def _count(self, side: Side, rate: float) -> int:
        """Whole batches, at least one, of fewer than _MOST."""
        batches = min(round(self.seconds * rate / side.batch), _MOST // side.batch)
        return max(1, batches) * side.batch


def _rate(side: Side, questions: Sequence[Question]) -> float:
    start = time.perf_counter()
    side.ask(questions)
    return len(questions) / (time.perf_counter() - start)


def trials(scenes: int) -> list[Trial]:
    """The first held-out scenes, as everywhere in the project."""
    return [make_trial(seed) for seed in range(scenes)]


def accuracy_of_server(client: Client, scenes: Sequence[Trial]) -> dict[str, dict[str, float]]:
    """What the answers are worth, per ensemble, through the client."""
    figures = measure(ServedPredictor(client), [*scenes], quiet=True)
    return {
        ensemble: {short: figures[name] for short, name in names.items()}
        for ensemble, names in FIGURES.items()
    }


def accuracy_of_side(side: Side, scenes: Sequence[Trial]) -> dict[str, float]:
    """main_object by one side."""
    answers = side.ask([to_question(trial) for trial in scenes])
    judged = [judge(answer, trial) for answer, trial in zip(answers, scenes, strict=True)]
    names = {"label": "label", "box": "box", "mask IoU": "mask_iou"}
    return {short: mean(getattr(one, name) for one in judged) for short, name in names.items()}
