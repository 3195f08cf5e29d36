"""Composes an ensemble, and refuses one that Triton would misunderstand or leave hanging."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fovea.specs import EnsembleSpec, EnsembleStep, ModelSpec, TensorSpec


class WiringError(ValueError):
    """A tensor with two sources or none, of another dtype or shape, or that leads nowhere."""


class Wiring:
    """An ensemble under construction: models in the order of their data.

    Args:
        name: of the ensemble.
        inputs: what callers send.
    """

    def __init__(self, name: str, inputs: tuple[TensorSpec, ...]) -> None:
        self._name, self._inputs = name, inputs
        self._tensors = {tensor.name: tensor for tensor in inputs}
        self._used: set[str] = set()
        self._steps: list[EnsembleStep] = []

    def add(
        self,
        model: ModelSpec,
        *,
        inputs: Mapping[str, str],
        outputs: Mapping[str, str],
    ) -> None:
        """One step: from the model's own names to the ensemble's; raises WiringError."""
        takes = {tensor.name: tensor for tensor in model.inputs}
        gives = {tensor.name: tensor for tensor in model.outputs}
        self._check_known(model, inputs, takes)
        self._check_known(model, outputs, gives)
        missing = [t.name for t in model.inputs if not t.optional and t.name not in inputs]
        if missing:
            raise WiringError(f"{self._name}: {model.name} gets no {', '.join(missing)}")
        for own, name in inputs.items():
            self._check_fits(model, takes[own], name)
        for own, name in outputs.items():
            if name in self._tensors:
                raise WiringError(f"{self._name}: {name} has two sources, one is {model.name}")
            self._tensors[name] = replace(gives[own], name=name)
        self._used |= set(inputs.values())
        self._steps.append(EnsembleStep(model.name, (*inputs.items(),), (*outputs.items(),)))

    def ensemble(
        self,
        outputs: tuple[TensorSpec, ...],
        max_batch_size: int,
        parameters: Mapping[str, str] | None = None,
    ) -> EnsembleSpec:
        """The finished ensemble; raises WiringError if an end is open."""
        for tensor in outputs:
            if tensor.name not in self._tensors:
                raise WiringError(f"{self._name}: nothing gives {tensor.name}")
            self._check_like(tensor, self._tensors[tensor.name], "the ensemble's output")
        open_ends = set(self._tensors) - self._used - {tensor.name for tensor in outputs}
        if open_ends:
            raise WiringError(f"{self._name}: nothing takes {', '.join(sorted(open_ends))}")
        return EnsembleSpec(
            self._name,
            self._inputs,
            outputs,
            tuple(self._steps),
            max_batch_size,
            (*(parameters or {}).items(),),
        )

    def _check_known(
        self, model: ModelSpec, names: Iterable[str], known: Mapping[str, TensorSpec]
    ) -> None:
        unknown = set(names) - set(known)
        if unknown:
            raise WiringError(f"{self._name}: {model.name} has no {', '.join(sorted(unknown))}")

    def _check_fits(self, model: ModelSpec, wanted: TensorSpec, name: str) -> None:
        if name not in self._tensors:
            raise WiringError(f"{self._name}: nothing gives {name}, which {model.name} takes")
        self._check_like(wanted, self._tensors[name], f"{wanted.name} of {model.name}")

    def _check_like(self, wanted: TensorSpec, got: TensorSpec, where: str) -> None:
        alike = wanted.dtype == got.dtype and len(wanted.shape) == len(got.shape)
        fits = alike and all(
            -1 in (want, there) or want == there
            for want, there in zip(wanted.shape, got.shape, strict=True)
        )
        if not fits:
            raise WiringError(
                f"{self._name}: {where} is {wanted.dtype} {list(wanted.shape)}, "
                f"{got.name} is {got.dtype} {list(got.shape)}"
            )
