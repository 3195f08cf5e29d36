"""Requests tensor by tensor, for what the client would never send."""

from __future__ import annotations

from typing import Any

import numpy as np
import tritonclient.grpc as triton

TYPES = {"O": "BYTES", "f": "FP32", "i": "INT32", "u": "UINT8", "b": "BOOL"}


def tensor(name: str, value: Any) -> triton.InferInput:
    """An input with a batch axis of 1 in front of `value`."""
    array = np.asarray(value)
    if array.dtype.kind in "SU":
        array = array.astype(np.object_)
    batched = array[None]
    kind = "FP64" if batched.dtype == np.float64 else TYPES[batched.dtype.kind]
    kind = "INT64" if batched.dtype == np.int64 else kind
    made = triton.InferInput(name, list(batched.shape), kind)
    made.set_data_from_numpy(batched)
    return made


def image(data: bytes) -> triton.InferInput:
    return tensor("IMAGE", np.array([data], np.object_))


def text(*values: str | bytes) -> triton.InferInput:
    data = [value.encode() if isinstance(value, str) else value for value in values]
    return tensor("TEXT", np.array(data, np.object_))


def floats(name: str, value: Any) -> triton.InferInput:
    return tensor(name, np.asarray(value, np.float32))


def ints(name: str, value: Any) -> triton.InferInput:
    return tensor(name, np.asarray(value, np.int32))


def outputs(result: triton.InferResult) -> dict[str, np.ndarray]:
    """All outputs of an answer, without batch axis."""
    return {out.name: result.as_numpy(out.name)[0] for out in result.get_response().outputs}
