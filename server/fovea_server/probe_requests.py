"""The smallest requests that a probe can make for an ensemble's inputs.

HTTP with Triton's binary data. Pixels and words stay the same for an hour, so that a cache keeps
one answer for a probe, not many; then they change, so that the networks behind such a cache run as
well.
"""

import io
import json
import math
import random
import struct
import time
import wave
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

_EDGE = 16
_SAME_FOR_S = 3600
_AUDIO_RATE = 16_000


@dataclass(frozen=True)
class Tensor:
    """One input: Triton's data type, the shape with its batch axis, the raw bytes."""

    datatype: str
    shape: tuple[int, ...]
    content: bytes


Inputs = Mapping[str, Tensor]


def current_seed() -> int:
    """The seed of this hour's requests."""
    return int(time.time() // _SAME_FOR_S)


def png(seed: int) -> bytes:
    """A small picture; equal seeds give equal pixels."""
    from PIL import Image  # most probes make no request, and need no picture

    pixels = random.Random(seed).randbytes(3 * _EDGE * _EDGE)
    out = io.BytesIO()
    Image.frombytes("RGB", (_EDGE, _EDGE), pixels).save(out, "PNG")
    return out.getvalue()


def text(value: bytes) -> Tensor:
    """A BYTES tensor of one element."""
    return Tensor("BYTES", (1, 1), struct.pack("<I", len(value)) + value)


def can_ask(names: Iterable[str]) -> bool:
    """Whether a request can be made for inputs with these names."""
    return KNOWN.keys() >= set(names)


def make_inputs(names: Iterable[str], seed: int) -> Inputs:
    """Inputs with these names; equal seeds give equal ones.

    Raises:
        KeyError: a name is not in KNOWN.
    """
    return {name: KNOWN[name](seed) for name in names}


def encode(inputs: Inputs, timeout_s: float | None = None) -> tuple[bytes, dict[str, str]]:
    """The body of an inference request, and its headers.

    timeout_s: a request that must wait longer in Triton's queues is refused.
    """
    described = [
        {
            "name": name,
            "shape": tensor.shape,
            "datatype": tensor.datatype,
            "parameters": {"binary_data_size": len(tensor.content)},
        }
        for name, tensor in inputs.items()
    ]
    request: dict[str, object] = {"inputs": described}
    if timeout_s is not None:
        request["parameters"] = {"timeout": max(1, round(timeout_s * 1e6))}
    head = json.dumps(request).encode()
    body = head + b"".join(tensor.content for tensor in inputs.values())
    return body, {"Inference-Header-Content-Length": str(len(head))}


def _middle(seed: int) -> Tensor:
    return Tensor("FP32", (1, 1, 1, 2), struct.pack("<2f", _EDGE / 2, _EDGE / 2))


def _wav(seed: int) -> bytes:
    """A tenth of a second of noise; equal seeds give equal samples."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_AUDIO_RATE)
        file.writeframes(random.Random(seed).randbytes(2 * _AUDIO_RATE // 10))
    return out.getvalue()


def _floats(*shape: int) -> Callable[[int], Tensor]:
    """Makes numbers within [0, 1); equal seeds give equal ones."""

    def make(seed: int) -> Tensor:
        numbers, count = random.Random(seed), math.prod(shape)
        content = struct.pack(f"<{count}f", *(numbers.random() for _ in range(count)))
        return Tensor("FP32", (1, *shape), content)

    return make


# Valid values, by the name of the input.
KNOWN: Mapping[str, Callable[[int], Tensor]] = {
    "IMAGE": lambda seed: text(png(seed)),
    "TEXT": lambda seed: text(f"thing {seed}".encode()),
    "POINT_COORDS": _middle,
    "POINT_LABELS": lambda seed: Tensor("INT32", (1, 1, 1), struct.pack("<i", 1)),
    "AUDIO": lambda seed: text(_wav(seed)),
    "DEPTH": _floats(224, 224),
    "THERMAL": _floats(224, 224),
    "IMU": _floats(6, 2000),
}
