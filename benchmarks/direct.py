"""An ensemble in this process: the same steps and networks, without a server between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.runners import Arrays, Runner
from fovea import steps
from fovea.pipeline import PipelineSpec
from fovea.pipeline import steps as step_specs
from fovea.specs import EnsembleSpec, EnsembleStep

Row = dict[str, NDArray[Any]]


class _Context:
    """What a step sees of its surroundings."""

    def __init__(
        self,
        pipeline: PipelineSpec,
        folder: Path,
        parameters: Mapping[str, str],
        runners: Mapping[str, Runner],
    ) -> None:
        self.pipeline, self.folder, self.parameters = pipeline, folder, parameters
        self._runners = runners

    def call_model(self, name: str, inputs: Arrays, outputs: list[str]) -> Arrays:
        """Another network, on a batch."""
        answers = self._runners[name](inputs)
        return {key: answers[key] for key in outputs}

    def count(self, metric: str, amount: int) -> None:
        """Nobody reads the counters here."""

    def room_for(self, models: Collection[str]) -> bool:
        """Nothing ever waits here."""
        return True


class DirectEnsemble:
    """Runs a batch of requests through an ensemble, step by step.

    runners: the networks by name. tokenizers: a folder with both tokenizer files. Rows of equal
    shapes go through a network together, as Triton batches them.
    """

    def __init__(
        self,
        spec: EnsembleSpec,
        pipeline: PipelineSpec,
        runners: Mapping[str, Runner],
        tokenizers: Path,
    ) -> None:
        self._spec, self._runners = spec, runners
        self._steps = {
            model.name: getattr(steps, kind)(
                _Context(pipeline, tokenizers, dict(model.parameters), runners)
            )
            for model, kind in step_specs(pipeline)
            if model.name in {step.model for step in spec.steps}
        }

    def __call__(self, requests: Sequence[Row]) -> list[Row]:
        """The ensemble's outputs for each request, without batch axis."""
        rows = [dict(request) for request in requests]
        for step in self._spec.steps:
            inputs = [_renamed(row, step.inputs) for row in rows]
            outputs = self._run(step, inputs)
            for row, answer in zip(rows, outputs, strict=True):
                row |= {theirs: answer[own] for own, theirs in step.outputs}
        names = [tensor.name for tensor in self._spec.outputs]
        return [{name: row[name] for name in names} for row in rows]

    def _run(self, step: EnsembleStep, inputs: list[Row]) -> list[Row]:
        if step.model in self._runners:
            return run_batched(self._runners[step.model], inputs)
        wanted = frozenset(own for own, _ in step.outputs)
        return [self._steps[step.model].run(row, wanted) for row in inputs]


def _renamed(row: Row, names: Sequence[tuple[str, str]]) -> Row:
    """The step's own names for the ensemble's tensors; optional ones may be missing."""
    return {own: row[theirs] for own, theirs in names if theirs in row}


def run_batched(runner: Runner, rows: Sequence[Row]) -> list[Row]:
    """Rows of equal shapes together, the answers in the order of the rows."""
    groups: dict[Any, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[tuple(array.shape for array in row.values())].append(index)
    answers: dict[int, Row] = {}
    for indices in groups.values():
        stacked = {name: np.stack([rows[i][name] for i in indices]) for name in rows[indices[0]]}
        outputs = runner(stacked)
        for place, index in enumerate(indices):
            answers[index] = {name: array[place] for name, array in outputs.items()}
    return [answers[index] for index in range(len(rows))]
