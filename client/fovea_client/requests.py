"""A request, built once and sent as often as needed: to Triton, or to a local deployment."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

TensorValue: TypeAlias = bytes | str | tuple[str, ...] | float | NDArray[Any]

_DATATYPES = {np.dtype(np.float32): "FP32", np.dtype(np.int32): "INT32"}
_MICROSECONDS = 1_000_000


class Request:
    """One inference of `model`.

    arrays: the tensors without batch axis. bytes and str become objects [1], a tuple of n str
    becomes objects [n], a float becomes float32 [1]; arrays stay as they are.
    """

    def __init__(self, model: str, inputs: Mapping[str, TensorValue]) -> None:
        self.model = model
        self.arrays = {name: _to_array(value) for name, value in inputs.items()}
        self._message: Any = None

    def message(self, timeout_s: float | None) -> Any:
        """The ModelInferRequest, with the rest of the caller's time for Triton's queues.

        The tensors get a batch axis of 1 in front. Retries send the same message.
        """
        if self._message is None:
            self._message = service_pb2.ModelInferRequest(model_name=self.model)
            for name, array in self.arrays.items():
                datatype, content = _serialize(array)
                self._message.inputs.add(name=name, datatype=datatype, shape=[1, *array.shape])
                self._message.raw_input_contents.append(content)
        if timeout_s is not None:
            microseconds = max(1, int(timeout_s * _MICROSECONDS))
            self._message.parameters["timeout"].int64_param = microseconds
        return self._message


def _to_array(value: TensorValue) -> NDArray[Any]:
    if isinstance(value, np.ndarray):
        return value
    if isinstance(value, float):
        return np.array([value], np.float32)
    texts = value if isinstance(value, tuple) else (value,)
    return np.array([t.encode("utf-8") if isinstance(t, str) else t for t in texts], np.object_)


def _serialize(array: NDArray[Any]) -> tuple[str, bytes]:
    if array.dtype == np.object_:
        return "BYTES", b"".join(struct.pack("<I", len(one)) + one for one in array)
    return _DATATYPES[array.dtype], np.ascontiguousarray(array).tobytes()
