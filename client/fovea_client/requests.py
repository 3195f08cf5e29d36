"""A request for Triton, built once and sent as often as needed."""

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
    """The message for one inference of `model`; retries send the very same one.

    Values get the batch axis of 1 in front: bytes and str become BYTES [1, 1], a tuple of n str
    BYTES [1, n], a float FP32 [1, 1], an array of shape S [1, *S].
    """

    def __init__(self, model: str, inputs: Mapping[str, TensorValue]) -> None:
        self.model = model
        self._message = service_pb2.ModelInferRequest(model_name=model)
        for name, value in inputs.items():
            self._add(name, value)

    def message(self, timeout_s: float | None) -> Any:
        """The ModelInferRequest, with what is left of the caller's time for Triton's queues."""
        if timeout_s is not None:
            microseconds = max(1, int(timeout_s * _MICROSECONDS))
            self._message.parameters["timeout"].int64_param = microseconds
        return self._message

    def _add(self, name: str, value: TensorValue) -> None:
        datatype, shape, content = _serialize(value)
        self._message.inputs.add(name=name, datatype=datatype, shape=[1, *shape])
        self._message.raw_input_contents.append(content)


def _serialize(value: TensorValue) -> tuple[str, tuple[int, ...], bytes]:
    if isinstance(value, (bytes, str)):
        return "BYTES", (1,), _pack(value)
    if isinstance(value, tuple):
        return "BYTES", (len(value),), b"".join(map(_pack, value))
    if isinstance(value, float):
        value = np.array([value], np.float32)
    return _DATATYPES[value.dtype], value.shape, np.ascontiguousarray(value).tobytes()


def _pack(value: bytes | str) -> bytes:
    content = value.encode("utf-8") if isinstance(value, str) else value
    return struct.pack("<I", len(content)) + content
