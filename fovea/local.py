"""Runs an export folder's verbs in this process on ONNX Runtime, without a server.

For notebooks and tests, and as the ceiling of what a server of the same export can reach.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fovea.cores import cores
from fovea.deployment import Deployment
from fovea.errors import FoveaError, InvalidTensor, ServerError, Unavailable, UnknownVerb
from fovea.house import wire
from fovea.layout import GRAPH, MANIFEST, REPOSITORY, VERSION
from fovea.manifest import exported_deployment
from fovea.models import StepSpec
from fovea.roles import Arrays
from fovea.specs import EnsembleSpec, EnsembleStep, ModelSpec, TensorSpec
from fovea.steps import STEPS
from fovea.steps.base import Step

PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")

# Runs a network on a batch: arrays in and out by the names of its spec.
Runner = Callable[[Mapping[str, NDArray[Any]]], Arrays]


def open(folder: str | PathLike[str]) -> Any:
    """A `fovea_client.LocalClient` of an export folder, such as build/export/demo.

    >>> with fovea.local.open("build/export/demo") as client:
    ...     thing = client.main_object("photo.jpg", ["man", "snowboard"])

    The client is looked up by name: this package is below all others, and imports none of them.
    """
    return importlib.import_module("fovea_client.local_client").LocalClient(folder)


class Local:
    """An export folder's verbs, on arrays; thread-safe.

    Graphs are opened when a verb first needs them, on the GPU if this onnxruntime has one. They
    compute in the precision of the export's graphs; what other runtimes would add (OpenVINO's
    bf16) is left out.

    Raises:
        Unavailable: the folder holds no export, or one whose networks are engines.
        ModuleNotFoundError: onnxruntime is missing; the message says what to install.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder = Path(folder)
        onnxruntime = _onnxruntime()
        repository = self.folder / REPOSITORY
        wired = wire(_read_deployment(self.folder))
        self._networks = {
            spec.name: _Network(onnxruntime, spec, repository / spec.name / VERSION / GRAPH)
            for spec in wired.networks
        }
        self._verbs = {
            ensemble.name: (ensemble, _dead_after_steps(ensemble)) for ensemble in wired.ensembles
        }
        self._steps = {
            step.model.name: make_step(step, repository / step.model.name / VERSION, self._networks)
            for step in wired.steps
        }

    @property
    def verbs(self) -> tuple[str, ...]:
        """The verbs of the export."""
        return tuple(self._verbs)

    def parameters(self, verb: str) -> dict[str, str]:
        """The parameters of the verb's configuration on a server; raises UnknownVerb."""
        return dict(self._ensemble(verb)[0].parameters)

    def open_networks(self) -> None:
        """Open every graph now instead of at the first requests; raises ServerError."""
        for network in self._networks.values():
            with _as_server_error(network.name):
                network.open()

    def infer(self, verb: str, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """One request: tensors as on the server, without batch axis.

        Strings are arrays of objects that are bytes; `fovea.verbs` lists the tensors.

        Raises:
            UnknownVerb: the export has no such verb.
            InvalidInput: refused by a step; InvalidTensor is for a wrong name, dtype or shape.
            ServerError: a step or a network failed on a valid request.
        """
        ensemble, dead_after = self._ensemble(verb)
        _check_inputs(ensemble, inputs)
        tensors = dict(inputs)
        for step, dead in zip(ensemble.steps, dead_after, strict=True):
            with _as_server_error(step.model):
                tensors |= self._run(step, tensors)
            for name in dead:
                tensors.pop(name, None)
        return {tensor.name: tensors[tensor.name] for tensor in ensemble.outputs}

    def _ensemble(self, verb: str) -> tuple[EnsembleSpec, list[list[str]]]:
        if verb not in self._verbs:
            raise UnknownVerb(f"the export in {self.folder} has no {verb!r}")
        return self._verbs[verb]

    def _run(self, step: EnsembleStep, tensors: Arrays) -> Arrays:
        # Optional tensors may be missing.
        inputs = {own: tensors[name] for own, name in step.inputs if name in tensors}
        network = self._networks.get(step.model)
        if network is None:
            answer = self._steps[step.model].run(inputs, frozenset(own for own, _ in step.outputs))
        else:
            batch = network({name: array[None] for name, array in inputs.items()})
            answer = {name: array[0] for name, array in batch.items()}
        return {theirs: answer[own] for own, theirs in step.outputs}


def make_step(spec: StepSpec, folder: Path, networks: Mapping[str, Runner]) -> Step:
    """A step outside of Triton; `folder` has its files, `networks` are those it may call."""
    kind: type[Step] = getattr(importlib.import_module(STEPS[spec.kind]), spec.kind)
    return kind(_Context(folder, dict(spec.model.parameters), networks))


class _Context:
    """A step's surroundings: `fovea.steps.base.Context`."""

    def __init__(
        self, folder: Path, parameters: Mapping[str, str], networks: Mapping[str, Runner]
    ) -> None:
        self.folder, self.parameters = folder, parameters
        self._networks = networks

    def call_model(self, name: str, inputs: Arrays, outputs: list[str]) -> Arrays:
        """Run a network on a batch."""
        answers = self._networks[name](inputs)
        return {key: answers[key] for key in outputs}

    def count(self, metric: str, amount: int) -> None:
        """Do nothing: nobody reads the counters here."""

    def room_for(self, models: Collection[str]) -> bool:
        """True: callers wait for each other, however many they are."""
        return True


class _Network:
    """A graph, opened by its first run.

    It runs one batch at a time, as on the server: each has all cores, and memory for one is enough.
    """

    def __init__(self, onnxruntime: Any, spec: ModelSpec, path: Path) -> None:
        if not path.is_file():
            raise Unavailable(
                f"expected a graph of ONNX in {path}, got none: an export whose networks are "
                "engines (--runtime tensorrt) runs on a server only"
            )
        self.name = spec.name
        self._onnxruntime, self._path = onnxruntime, path
        self._outputs = [tensor.name for tensor in spec.outputs]
        self._session: Any = None
        self._lock = threading.Lock()

    def __call__(self, feeds: Mapping[str, NDArray[Any]]) -> Arrays:
        with self._lock:
            arrays = self._opened().run(self._outputs, dict(feeds))
        return dict(zip(self._outputs, arrays, strict=True))

    def open(self) -> None:
        with self._lock:
            self._opened()

    def _opened(self) -> Any:
        if self._session is None:
            ort = self._onnxruntime
            options = ort.SessionOptions()
            options.log_severity_level = 3
            options.intra_op_num_threads = cores()
            # As in the server: a spinning thread takes a core from the next network.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            providers = [name for name in PROVIDERS if name in ort.get_available_providers()]
            self._session = ort.InferenceSession(str(self._path), options, providers=providers)
        return self._session


@contextmanager
def _as_server_error(model: str) -> Iterator[None]:
    """Turn any error other than FoveaError into a ServerError that names the model."""
    try:
        yield
    except FoveaError:
        raise
    except Exception as error:
        raise ServerError(f"{model} failed: {error!r}") from error


def _onnxruntime() -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "running an export in this process needs onnxruntime: pip install 'fovea[local]'",
            name=error.name,
        ) from error


def _read_deployment(folder: Path) -> Deployment:
    """The deployment in the export's manifest; raises Unavailable."""
    manifest = folder / MANIFEST
    try:
        return exported_deployment(folder)
    except OSError as error:
        raise Unavailable(
            f"expected an export folder such as build/export/demo: {manifest}: {error.strerror}"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise Unavailable(f"{manifest}: not of this version, export again: {error!r}") from error


def _dead_after_steps(ensemble: EnsembleSpec) -> list[list[str]]:
    """For each step, the tensors that neither a later step nor the caller needs."""
    last = {
        name: index
        for index, step in enumerate(ensemble.steps)
        for _, name in (*step.inputs, *step.outputs)
    }
    kept = {tensor.name for tensor in ensemble.outputs}
    return [
        [name for name in last if last[name] == index and name not in kept]
        for index in range(len(ensemble.steps))
    ]


def _check_inputs(ensemble: EnsembleSpec, inputs: Mapping[str, NDArray[Any]]) -> None:
    """Raise InvalidTensor for inputs that Triton would refuse before any step, in its words."""
    specs = {tensor.name: tensor for tensor in ensemble.inputs}
    for name in inputs:
        if name not in specs:
            raise InvalidTensor(
                f"unexpected inference input {name!r} for model {ensemble.name!r}, "
                f"which takes {', '.join(specs)}"
            )
    for name, spec in specs.items():
        if name in inputs:
            _check_tensor(spec, inputs[name])
        elif not spec.optional:
            raise InvalidTensor(
                f"expected inputs for model {ensemble.name!r}, missing required input(s) [{name!r}]"
            )


def _check_tensor(spec: TensorSpec, array: NDArray[Any]) -> None:
    spec.check(array)
    if array.dtype == np.object_:
        wrong = next((one for one in array.flat if not isinstance(one, bytes)), None)
        if wrong is not None:
            raise InvalidTensor(f"{spec.name}: expected bytes, got {type(wrong).__name__}")
