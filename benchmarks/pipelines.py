"""main_object as a whole, by the server and by what it is compared with, in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from fovea_client import Client
from fovea_client.answers import Answer, read_main_object

from benchmarks.baselines import DirectEnsemble, Tensors
from benchmarks.figures import Budget, Spread, timed
from benchmarks.order import Scale
from benchmarks.questions import VERBS, Question, to_question
from benchmarks.results import PipelineResult
from demo.evaluate import Trial, judge, make_trial, mean, measure
from demo.reference import MainObject, ReferencePipeline
from demo.served import ServedPredictor, as_main_object
from export.timing import in_turn

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


@dataclass(frozen=True)
class Side:
    """Answers many questions, `batch` at a time."""

    name: str
    batch: int
    ask: Callable[[Sequence[Question]], Sequence[Any]]


def plain_side(pipeline: ReferencePipeline) -> Side:
    """transformers, picture by picture."""

    def ask(asked: Sequence[Question]) -> list[MainObject]:
        return [pipeline.main_object(q.image, q.labels) for q in asked]

    return Side(TRANSFORMERS, 1, ask)


def direct_side(name: str, ensemble: DirectEnsemble, batch: int) -> Side:
    """The steps and networks of main_object in this process, a batch at a time."""
    [verb] = [verb for verb in VERBS if verb.name == "main_object"]

    def ask(asked: Sequence[Question]) -> list[MainObject]:
        answers: list[MainObject] = []
        for start in range(0, len(asked), batch):
            part = asked[start : start + batch]
            rows = ensemble([verb.request(question).arrays for question in part])
            answers += [_to_answer(row, q) for row, q in zip(rows, part, strict=True)]
        return answers

    return Side(name, batch, ask)


def _to_answer(row: Tensors, question: Question) -> MainObject:
    answer = Answer("main_object", row.get)
    return as_main_object(read_main_object(answer, tuple(question.labels)))


def served_side(client: Client, callers: int, *, decode: bool = True) -> Side:
    """Triton through the client, by so many callers at once.

    decode: whether masks are unpacked, as the other sides' are.
    """

    def call(question: Question) -> Any:
        answer = client.main_object(question.jpeg, question.labels)
        return as_main_object(answer) if decode else answer

    def ask(asked: Sequence[Question]) -> list[Any]:
        with ThreadPoolExecutor(callers) as pool:
            return [*pool.map(call, asked)]

    return Side(SERVED, callers, ask)


def contest(
    sides: Sequence[Side],
    scale: Scale,
    ask: Callable[[int, int], Sequence[Question]],
    budget: Budget,
    say: Callable[[str], None],
) -> list[PipelineResult]:
    """Each side's pictures per second, and the served one's over its, by round.

    In a round every side answers for about `contest_s` questions that none had before;
    ask(first, count) makes them. A round that the time does not allow for every side is left out
    for all.
    """
    rates: dict[str, list[float]] = {side.name: [] for side in sides}
    known: dict[str, float] = {}
    for side in sides:
        say(f"main_object by {side.name}: warm-up")
        known[side.name] = rate(side, ask(0, side.batch))
    for index in range(scale.rounds):
        counts = {side.name: _count(side, scale.contest_s * known[side.name]) for side in sides}
        expected_s = sum(count / known[name] for name, count in counts.items())
        if index and not budget.allows(expected_s, f"main_object: round {index + 1} of all"):
            break
        for side in in_turn([*sides], index):
            say(f"main_object by {side.name}: round {index + 1}")
            known[side.name] = rate(side, ask(_MOST * (index + 1), counts[side.name]))
            rates[side.name].append(known[side.name])
    return [
        PipelineResult(
            side=side.name,
            batch=side.batch,
            pictures_per_s=Spread.of(rates[side.name]),
            ratio=Spread.of(s / r for s, r in zip(rates[SERVED], rates[side.name], strict=True)),
        )
        for side in sides
    ]


def _count(side: Side, questions: float) -> int:
    """Whole batches, at least one, of fewer than _MOST."""
    batches = min(round(questions / side.batch), _MOST // side.batch)
    return max(1, batches) * side.batch


def rate(side: Side, questions: Sequence[Question]) -> float:
    """Pictures per second."""
    _, seconds = timed(side.ask, questions)
    return len(questions) / seconds


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
