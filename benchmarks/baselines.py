"""What the server is compared with: its own steps in this process, and plain transformers.

Together with `benchmarks.exports` this is all that the benchmarks know of the deployment's types.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils import _pytree as pytree

from benchmarks.exports import GROUNDING_DINO, Exported
from benchmarks.networks import DTYPES
from demo.reference import ReferencePipeline
from fovea.house import wire
from fovea.local import Runner, make_step
from fovea.specs import EnsembleStep

Tensors = dict[str, NDArray[Any]]


class DirectEnsemble:
    """Runs a batch of requests through an ensemble, step by step, without a server between them.

    runners: the networks by name. Rows of equal shapes go through a network together, as Triton
    batches them.
    """

    def __init__(self, name: str, exported: Exported, runners: Mapping[str, Runner]) -> None:
        wired = wire(exported.loaded.deployment)
        self._spec = next(spec for spec in wired.ensembles if spec.name == name)
        self._runners = runners
        self._steps = {
            step.model.name: make_step(step, exported.tokenizers, runners)
            for step in wired.steps
            if step.model.name in {one.model for one in self._spec.steps}
        }

    def __call__(self, requests: Sequence[Tensors]) -> list[Tensors]:
        """The ensemble's outputs for each request, without batch axis."""
        rows = [dict(request) for request in requests]
        for step in self._spec.steps:
            # Optional tensors may be missing.
            inputs = [{own: row[name] for own, name in step.inputs if name in row} for row in rows]
            for row, answer in zip(rows, self._run(step, inputs), strict=True):
                row |= {theirs: answer[own] for own, theirs in step.outputs}
        names = [tensor.name for tensor in self._spec.outputs]
        return [{name: row[name] for name in names} for row in rows]

    def _run(self, step: EnsembleStep, inputs: list[Tensors]) -> list[Tensors]:
        if step.model in self._runners:
            return _run_batched(self._runners[step.model], inputs)
        wanted = frozenset(own for own, _ in step.outputs)
        return [self._steps[step.model].run(row, wanted) for row in inputs]


def _run_batched(runner: Runner, rows: Sequence[Tensors]) -> list[Tensors]:
    """Run rows of equal shapes together; return the answers in the order of the rows."""
    groups: dict[Any, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        groups[tuple(array.shape for array in row.values())].append(index)
    answers: dict[int, Tensors] = {}
    for indices in groups.values():
        stacked = {name: np.stack([rows[i][name] for i in indices]) for name in rows[indices[0]]}
        outputs = runner(stacked)
        for place, index in enumerate(indices):
            answers[index] = {name: array[place] for name, array in outputs.items()}
    return [answers[index] for index in range(len(rows))]


class PlainPipeline(ReferencePipeline):
    """The reference on any device, for pictures of the size that is served."""

    def __init__(self, exported: Exported, device: str) -> None:
        found = exported.loaded.checkpoints
        super().__init__(
            clip=found["clip"].folder, dino=found[GROUNDING_DINO].folder, sam=found["sam"].folder
        )
        self._spec = exported.loaded.deployment.member(GROUNDING_DINO).spec
        self.dino_processor.image_processor.size = {
            "shortest_edge": self._spec.shortest_edge,
            "longest_edge": self._spec.longest_edge,
        }
        if device != "cpu":
            for name in ("clip", "dino", "sam"):
                setattr(self, name, _OnDevice(getattr(self, name), device))

    @property
    def box_threshold(self) -> float:
        """The served one: stand-ins record none."""
        return self._spec.box_threshold

    @property
    def text_threshold(self) -> float:
        """The served one."""
        return self._spec.text_threshold


class _OnDevice:
    """A transformers model on a device; inputs and answers stay on the host."""

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
