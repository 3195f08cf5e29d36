"""main_object as a whole, by the server and by what it is compared with, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from fovea_client import Client
from torch.utils import _pytree as pytree

from benchmarks.budget import Budget
from benchmarks.direct import DirectEnsemble, Row
from benchmarks.questions import Question
from benchmarks.results import PipelineResult
from benchmarks.runners import DTYPES, Runner
from benchmarks.spread import Spread
from benchmarks.turns import in_turn
from demo.reference import MainObject, ReferencePipeline
from demo.served import ServedPredictor
from fovea.ensembles import ensembles
from fovea.masks import decode_rle
from fovea.pipeline import PipelineSpec

SERVED, TRANSFORMERS = "served", "transformers"


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
        self,
        name: str,
        pipeline: PipelineSpec,
        runners: Mapping[str, Runner],
        tokenizers: Path,
        batch: int,
    ) -> None:
        self.name, self.batch = name, batch
        spec = next(spec for spec in ensembles(pipeline) if spec.name == "main_object")
        self._ensemble = DirectEnsemble(spec, pipeline, runners, tokenizers)

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


def _to_row(question: Question) -> Row:
    labels = [label.encode() for label in question.labels]
    return {
        "IMAGE": np.array([question.jpeg], np.object_),
        "TEXT": np.array(labels, np.object_),
    }


def _to_answer(row: Row) -> MainObject:
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


class PlainPipeline(ReferencePipeline):
    """The reference on any device, for pictures of the size that is served."""

    def __init__(self, folder: Path, spec: PipelineSpec, device: str) -> None:
        super().__init__(folder)
        self._spec = spec.grounding_dino
        self.dino_processor.image_processor.size = {
            "shortest_edge": self._spec.shortest_edge,
            "longest_edge": self._spec.longest_edge,
        }
        if device != "cpu":
            for name in ("clip", "dino", "sam"):
                setattr(self, name, OnDevice(getattr(self, name), device))

    @property
    def box_threshold(self) -> float:
        """The served one: stand-ins record none."""
        return self._spec.box_threshold

    @property
    def text_threshold(self) -> float:
        """The served one."""
        return self._spec.text_threshold


class OnDevice:
    """A transformers model on a device in its type there; inputs and answers stay on the host."""

    def __init__(self, model: torch.nn.Module, device: str) -> None:
        self.config = model.config
        self._device, self._dtype = device, DTYPES[device]
        self._model = model.to(device, self._dtype)

    def __call__(self, **inputs: Any) -> Any:
        moved = pytree.tree_map_only(torch.Tensor, self._to_device, inputs)
        return pytree.tree_map_only(torch.Tensor, _to_host, self._model(**moved))

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._device, self._dtype if tensor.is_floating_point() else None)


def _to_host(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float().cpu() if tensor.is_floating_point() else tensor.cpu()


# Questions of one turn; those of the next round begin after so many.
_MOST = 10_000


@dataclass(frozen=True)
class Contest:
    """Rounds in which every side answers for about `seconds` questions that none had before."""

    sides: Sequence[Side]
    rounds: int
    seconds: float
    say: Callable[[str], None] = lambda what: None

    def run(
        self, ask: Callable[[int, int], Sequence[Question]], budget: Budget
    ) -> dict[str, list[float]]:
        """Pictures per second of each side by round; ask(first, count) makes the questions.

        A round that the time does not allow for every side is left out for all.
        """
        rates: dict[str, list[float]] = {side.name: [] for side in self.sides}
        known: dict[str, float] = {}
        for side in self.sides:
            self.say(f"main_object by {side.name}: warm-up")
            known[side.name] = _rate(side, ask(0, side.batch))
        for index in range(self.rounds):
            counts = {side.name: self._count(side, known[side.name]) for side in self.sides}
            expected_s = sum(count / known[name] for name, count in counts.items())
            if index and not budget.allows(expected_s, f"main_object: round {index + 1} of all"):
                break
            for name in in_turn([side.name for side in self.sides], index):
                side = next(side for side in self.sides if side.name == name)
                self.say(f"main_object by {name}: round {index + 1}")
                first = _MOST * (index + 1)
                known[name] = _rate(side, ask(first, counts[name]))
                rates[name].append(known[name])
        return rates

    def _count(self, side: Side, rate: float) -> int:
        """Whole batches, at least one, of fewer than _MOST."""
        batches = min(round(self.seconds * rate / side.batch), _MOST // side.batch)
        return max(1, batches) * side.batch


def _rate(side: Side, questions: Sequence[Question]) -> float:
    start = time.perf_counter()
    side.ask(questions)
    return len(questions) / (time.perf_counter() - start)


def results(sides: Sequence[Side], rates: Mapping[str, list[float]]) -> list[PipelineResult]:
    """With the ratio of the served rate to each side's, round by round."""
    served = rates[SERVED]
    return [
        PipelineResult(
            side=side.name,
            batch=side.batch,
            pictures_per_s=Spread.of(rates[side.name]),
            ratio=Spread.of(s / r for s, r in zip(served, rates[side.name], strict=True)),
        )
        for side in sides
    ]
