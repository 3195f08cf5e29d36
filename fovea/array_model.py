"""Connects the steps to Triton's Python backend: one error per bad request.

A step answers each request of a batch as soon as it is done, so none waits for its neighbours. Only
Triton's own Python process can import `triton_python_backend_utils`, hence the late import.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import traceback
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fovea import triton_tensors
from fovea.backlog import Backlog, read_loads
from fovea.errors import InvalidInput, InvalidTensor, Overloaded, cut, input_codes
from fovea.roles import Arrays
from fovea.specs import from_json, to_json
from fovea.steps.base import Step
from fovea.steps.settings import Waiting
from fovea.triton_tensors import to_tensor

log = logging.getLogger(__name__)

# Triton 2.51 counts a step's error answer as a success, so failures and refusals are counted here.
REFUSALS = "fovea_refusals_total"
FAILURES = "fovea_failures_total"
OVERLOADED = "overloaded"
# Triton's own wording of a refusal, which clients and the probe recognise.
QUEUE_FULL = "Exceeds maximum queue size"

# For steps that refuse nothing.
NO_WAITING = to_json(Waiting(timeout_us=0, backlog=0, instances=()))


class ModelCallFailed(Exception):
    """Another model refused or failed a step's call; `code` is Triton's."""

    def __init__(self, message: str, code: Any) -> None:
        super().__init__(message)
        self.code = code


class _Caller(threading.local):
    """Seconds that this thread's caller waits."""

    patience_s = math.inf


class ArrayModel:
    """Base of every `TritonPythonModel` in the model repository: set `step_type`.

    A request with a wrong input gets an INVALID_ARG error, one without room an UNAVAILABLE error,
    and one that the step fails on an INTERNAL error; the other requests of the batch are still
    answered.
    """

    step_type: ClassVar[type[Step]]

    def initialize(self, args: Mapping[str, str]) -> None:
        import triton_python_backend_utils as pb

        triton_tensors.prepare(pb)
        config = json.loads(args["model_config"])
        self.parameters: Mapping[str, str] = {
            name: value["string_value"] for name, value in config["parameters"].items()
        }
        self.folder = Path(args["model_repository"]) / args["model_version"]
        self.optional = {t["name"] for t in config["input"] if t.get("optional")}
        self.input_names = [t["name"] for t in config["input"]]
        self.batches = config["max_batch_size"] > 0
        self._make_counters(config["name"])
        self._waiting = from_json(Waiting, self.parameters.get("waiting", NO_WAITING))
        instances = dict(self._waiting.instances)
        self._backlog = Backlog(read_loads, self._waiting.backlog, instances)
        self._caller = _Caller()
        self._workers = ThreadPoolExecutor(self.step_type.WORKERS)
        self._free = threading.Semaphore(self.step_type.WORKERS)
        self.step = self.step_type(self)

    def execute(self, requests: list[Any]) -> list[Any] | None:
        """Answer a batch; None if answers are sent one by one.

        A step that waits for other models gets the next batch once all of this one have started;
        other steps get it once all are answered.
        """
        if len(requests) == 1 and not self.step_type.CALLS_MODELS:
            return [self._answer(requests[0])]
        begun = []
        for request in requests:
            self._free.acquire()
            begun.append(self._workers.submit(self._send_answer, request))
        if not self.step_type.CALLS_MODELS:
            wait(begun)
        return None

    def finalize(self) -> None:
        """End the threads; Triton calls it after the last request."""
        self._workers.shutdown()

    def _send_answer(self, request: Any) -> None:
        import triton_python_backend_utils as pb

        try:
            final = pb.TRITONSERVER_RESPONSE_COMPLETE_FINAL
            request.get_response_sender().send(self._answer(request), flags=final)
        except Exception:
            log.exception("%s could not send an answer", self.step_type.__name__)
        finally:
            self._free.release()

    def _answer(self, request: Any) -> Any:
        import triton_python_backend_utils as pb

        try:
            self._caller.patience_s = self._patience_s(request)
            wanted = frozenset(request.requested_output_names())
            outputs = self._run(self._read(request), wanted)
            return pb.InferenceResponse([to_tensor(pb, *named) for named in outputs.items()])
        except InvalidInput as error:
            self._increment(self._refusals[error.code], 1)
            failure = pb.TritonError(error.to_message(), pb.TritonError.INVALID_ARG)
        except Overloaded as error:
            self._increment(self._refusals[OVERLOADED], 1)
            failure = pb.TritonError(f"{QUEUE_FULL}: {error}", pb.TritonError.UNAVAILABLE)
        except ModelCallFailed as error:
            self._increment(self._failures, 1)
            failure = pb.TritonError(cut(str(error)), error.code)
        except Exception as error:
            self._increment(self._failures, 1)
            log.error("%s failed:\n%s", self.step_type.__name__, traceback.format_exc())
            failure = pb.TritonError(cut(f"{self.step_type.__name__} failed: {error!r}"))
        return pb.InferenceResponse(error=failure)

    def _read(self, request: Any) -> Arrays:
        import triton_python_backend_utils as pb

        inputs: Arrays = {}
        for name in self.input_names:
            tensor = pb.get_input_tensor_by_name(request, name)
            if tensor is not None:
                inputs[name] = tensor.as_numpy()
            elif name not in self.optional:
                raise InvalidTensor(f"{name}: expected a tensor, got none")
        return inputs

    def _run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        rows = [
            self.step.run({name: array[row] for name, array in inputs.items()}, wanted)
            for row in range(len(next(iter(inputs.values()))))
        ]
        return {
            name: _stack(name, [row[name] for row in rows]) for name in rows[0] if name in wanted
        }

    def call_model(self, name: str, inputs: Arrays, outputs: list[str]) -> Arrays:
        """Run another model of this server on a batch; raises ModelCallFailed."""
        import triton_python_backend_utils as pb

        request = pb.InferenceRequest(
            model_name=name,
            inputs=[to_tensor(pb, *named) for named in inputs.items()],
            requested_output_names=outputs,
            # A network's answer would otherwise stay on the GPU, where numpy cannot read it.
            preferred_memory=pb.PreferredMemory(pb.TRITONSERVER_MEMORY_CPU, 0),
        )
        response = request.exec()
        if response.has_error():
            error = response.error()
            raise ModelCallFailed(f"{name}: {error.message()}", error.code())
        return {key: pb.get_output_tensor_by_name(response, key).as_numpy() for key in outputs}

    def count(self, metric: str, amount: int) -> None:
        """Add to one of the step's counters on /metrics."""
        if amount:
            self._increment(self._counters[metric], amount)

    def room_for(self, models: Collection[str]) -> bool:
        """Whether these models can answer one more request within its caller's time."""
        return self._backlog.room_for(models, self._caller.patience_s)

    def _patience_s(self, request: Any) -> float:
        """Seconds that the caller waits: its `timeout`, or else the first queue's."""
        return (request.timeout() or self._waiting.timeout_us or math.inf) / 1e6

    def _increment(self, counter: Any, amount: int) -> None:
        with self._counting:
            counter.increment(amount)

    def _make_counters(self, model: str) -> None:
        """The step's own counters, and those of refusals by code and of failures.

        Every process has its own series: Triton removes those of a process that ends.
        """
        import triton_python_backend_utils as pb

        self._counting = threading.Lock()
        labels = {"model": model, "process": str(os.getpid())}
        texts = {**self.step_type.METRICS, REFUSALS: "Requests refused", FAILURES: "Steps failed"}
        self._families = {
            name: pb.MetricFamily(name=name, description=text, kind=pb.MetricFamily.COUNTER)
            for name, text in texts.items()
        }
        self._counters = {
            name: self._families[name].Metric(labels=labels) for name in self.step_type.METRICS
        }
        self._failures = self._families[FAILURES].Metric(labels=labels)
        self._refusals = {
            code: self._families[REFUSALS].Metric(labels={**labels, "reason": code})
            for code in (*input_codes(), OVERLOADED)
        }


def _stack(name: str, rows: list[Any]) -> Any:
    """Join the rows of a batched request into one array; they must have one shape."""
    if len({row.shape for row in rows}) > 1:
        raise InvalidTensor(
            f"{name}: expected rows of one shape in a batched request, got "
            f"{[list(row.shape) for row in rows]}; send them as single requests, "
            "the server batches those"
        )
    return np.stack(rows)
