"""The smallest requests that together run every model of the pipeline.

HTTP with Triton's binary data, made of the standard library alone: a probe starts often. Pixels
and words differ from probe to probe, so that no cache answers in place of a model.
"""

import json
import secrets
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_EDGE = 16
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Eight bits a channel, RGB; see the PNG specification, 11.2.2.
_PNG_RGB8 = (8, 2, 0, 0, 0)


@dataclass(frozen=True)
class Tensor:
    """One input: Triton's data type, the shape with its batch axis, the raw bytes."""

    datatype: str
    shape: tuple[int, ...]
    content: bytes


Inputs = Mapping[str, Tensor]


def png(edge: int = _EDGE) -> bytes:
    """A small picture of random pixels."""
    rows = b"".join(b"\0" + secrets.token_bytes(3 * edge) for _ in range(edge))
    header = struct.pack(">IIBBBBB", edge, edge, *_PNG_RGB8)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    return _PNG_SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def text(value: bytes) -> Tensor:
    """A BYTES tensor of one element."""
    return Tensor("BYTES", (1, 1), struct.pack("<I", len(value)) + value)


def inputs_of(model: str) -> Inputs:
    """Fresh inputs for one of PROBED.

    Raises:
        KeyError: this module has no request for the model.
    """
    return PROBED[model]()


def encode(inputs: Inputs) -> tuple[bytes, dict[str, str]]:
    """The body of an inference request and its headers."""
    described = [
        {
            "name": name,
            "shape": tensor.shape,
            "datatype": tensor.datatype,
            "parameters": {"binary_data_size": len(tensor.content)},
        }
        for name, tensor in inputs.items()
    ]
    head = json.dumps({"inputs": described}).encode()
    body = head + b"".join(tensor.content for tensor in inputs.values())
    return body, {"Inference-Header-Content-Length": str(len(head))}


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _word() -> bytes:
    return f"thing {secrets.randbelow(10**6)}".encode()


def _image_and_text() -> Inputs:
    return {"IMAGE": text(png()), "TEXT": text(_word())}


def _image_and_point() -> Inputs:
    middle = struct.pack("<2f", _EDGE / 2, _EDGE / 2)
    return {
        "IMAGE": text(png()),
        "POINT_COORDS": Tensor("FP32", (1, 1, 1, 2), middle),
        "POINT_LABELS": Tensor("INT32", (1, 1, 1), struct.pack("<i", 1)),
    }


# Together they run every network and every step; detect_and_segment would add none.
PROBED: Mapping[str, Callable[[], Inputs]] = {
    "main_object": _image_and_text,
    "detect": _image_and_text,
    "segment": _image_and_point,
    "embed_text": lambda: {"TEXT": text(_word())},
}
