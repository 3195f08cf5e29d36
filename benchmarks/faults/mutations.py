"""Wrong requests without end: the same seed gives the same request."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from tritonclient.grpc import service_pb2

Rng = np.random.Generator
Message = Any

VERBS = ("embed_image", "embed_image", "detect", "main_object", "segment", "detect_and_segment")
DATATYPES = {"BYTES": 0, "FP32": 4, "INT32": 4, "FP64": 8, "INT64": 8, "UINT8": 1, "BOOL": 1}
NAMES = (
    "IMAGE",
    "TEXT",
    "POINT_COORDS",
    "POINT_LABELS",
    "BOX_THRESHOLD",
    "",
    "image",
    "\u00e9" * 50,
)
ODD_SIZES = (-(2**62), -1, 0, 1, 2, 3, 7, 1000, 2**31 - 1, 2**31, 2**62)
ODD_FLOATS = (np.nan, np.inf, -np.inf, -1.0, 0.0, 1e-40, 3e38, 1e9, 50.0)
HUGE_EDGES = (30_000, 65_500, 2**31 - 1)


@dataclass(frozen=True)
class Fuzzed:
    """A gRPC request, and the kind of its mutation."""

    kind: str
    message: Message


def fuzzed(seed: int, pictures: list[bytes]) -> Fuzzed:
    """The request of this seed."""
    rng = np.random.default_rng(seed)
    kind = str(rng.choice(list(_KINDS), p=[share for share, _ in _KINDS.values()]))
    return Fuzzed(kind, _KINDS[kind][1](rng, pictures))


def mutated_image(rng: Rng, pictures: list[bytes]) -> bytes:
    """An encoded picture that is not what it was."""
    data = bytearray(pictures[rng.integers(len(pictures))])
    change = rng.choice(["cut", "flip", "magic", "splice", "noise", "sizes", "bomb"])
    if change == "cut":
        return bytes(data[: rng.integers(len(data))])
    if change == "magic":
        return rng.bytes(int(rng.integers(1, 16))) + bytes(data[16:])
    if change == "noise":
        return rng.bytes(int(rng.integers(0, 4096)))
    if change == "sizes":
        return _declared_size(rng)
    if change == "bomb":
        return _bomb(rng)
    if change == "splice":
        other = pictures[rng.integers(len(pictures))]
        return bytes(data[: rng.integers(len(data))]) + other[rng.integers(len(other)) :]
    for at in rng.integers(len(data), size=rng.integers(1, 50)):
        data[at] ^= 1 << int(rng.integers(8))
    return bytes(data)


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk with a right checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _declared_size(rng: Rng) -> bytes:
    """A header that promises far more pixels than anybody should make room for."""
    width, height = (int(rng.choice(HUGE_EDGES)) for _ in "wh")
    kind = rng.choice(["png", "jpeg", "webp"])
    if kind == "png":
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IEND", b"")
    if kind == "jpeg":
        edges = struct.pack(">HH", min(height, 65_500), min(width, 65_500))
        frame = b"\xff\xc0\x00\x11\x08" + edges + b"\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01"
        return b"\xff\xd8" + frame + b"\xff\xda\x00\x0c\x03\x01\x00\x02\x11\x03\x11\x00\x3f\x00"
    edges = struct.pack("<I", 16_383)[:3] * 2
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + edges


def _bomb(rng: Rng) -> bytes:
    """A small file that grows when it is unpacked: pixels, or text beside them."""
    out = io.BytesIO()
    edge = int(rng.integers(500, 1500))
    Image.new("L", (edge, edge)).save(out, str(rng.choice(["PNG", "WEBP", "JPEG"])))
    data = out.getvalue()
    if data[1:4] != b"PNG":
        return data
    text = png_chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000)))
    return data[:33] + text + data[33:]


def _add(message: Message, name: str, datatype: str, shape: list[int], raw: bytes) -> None:
    message.inputs.add(name=name, datatype=datatype, shape=shape)
    message.raw_input_contents.append(raw)


def _bytes_tensor(message: Message, name: str, value: bytes) -> None:
    _texts_tensor(message, name, [value])


def _texts_tensor(message: Message, name: str, values: list[bytes]) -> None:
    content = b"".join(struct.pack("<I", len(value)) + value for value in values)
    _add(message, name, "BYTES", [1, len(values)], content)


def _request(rng: Rng, verb: str, image: bytes) -> Message:
    """A right request, if the picture is right."""
    message = service_pb2.ModelInferRequest(model_name=verb)
    _bytes_tensor(message, "IMAGE", image)
    if verb == "segment":
        coords = rng.uniform(1, 300, (1, 1, 2, 2)).astype(np.float32)
        _add(message, "POINT_COORDS", "FP32", [1, 1, 2, 2], coords.tobytes())
        _add(message, "POINT_LABELS", "INT32", [1, 1, 2], np.array([1, 1], np.int32).tobytes())
    elif verb != "embed_image":
        _texts_tensor(message, "TEXT", [b"cat", b"dog"])
    return message


def _wrong_image(rng: Rng, pictures: list[bytes]) -> Message:
    return _request(rng, str(rng.choice(VERBS)), mutated_image(rng, pictures))


def _wrong_text(rng: Rng, pictures: list[bytes]) -> Message:
    points = rng.integers(1, 0x3000, int(rng.integers(0, 3000)))
    texts = (
        rng.bytes(int(rng.integers(0, 300))),
        "".join(map(chr, points)).encode(),
        b". " * int(rng.integers(0, 1500)),
        b"x." * int(rng.integers(60, 70)),
        b"\0cat. \xed\xa0\x80",
    )
    number = int(rng.choice([0, 1, 1, 2, 80, 3000]))
    labels = [texts[rng.integers(len(texts))] for _ in range(number)]
    verb = str(rng.choice(["embed_text", "embed_text", "detect", "main_object"]))
    message = service_pb2.ModelInferRequest(model_name=verb)
    if verb != "embed_text":
        _bytes_tensor(message, "IMAGE", pictures[0])
    _texts_tensor(message, "TEXT", labels)
    return message


def _wrong_prompt(rng: Rng, pictures: list[bytes]) -> Message:
    message = service_pb2.ModelInferRequest(model_name="segment")
    _bytes_tensor(message, "IMAGE", pictures[0])
    sets, points = int(rng.integers(0, 140)), int(rng.integers(0, 20))
    coords = rng.choice(np.array(ODD_FLOATS, np.float32), (1, sets, points, 2)).astype(np.float32)
    labels = rng.integers(-3, 6, (1, sets, points + int(rng.integers(0, 2)))).astype(np.int32)
    _add(message, "POINT_COORDS", "FP32", list(coords.shape), coords.tobytes())
    _add(message, "POINT_LABELS", "INT32", list(labels.shape), labels.tobytes())
    return message


def _wrong_threshold(rng: Rng, pictures: list[bytes]) -> Message:
    message = _request(rng, "detect", pictures[0])
    value = np.array([rng.choice(ODD_FLOATS)], np.float32)
    _add(message, "BOX_THRESHOLD", "FP32", [1, 1], value.tobytes())
    return message


def _wrong_tensor(rng: Rng, pictures: list[bytes]) -> Message:
    """Shape, type, name or length of one tensor is not what the verb takes."""
    verb = str(rng.choice(VERBS))
    message = _request(rng, verb, pictures[0])
    at = int(rng.integers(len(message.inputs)))
    tensor = message.inputs[at]
    change = rng.choice(["shape", "type", "name", "length", "twice", "missing", "rank", "typed"])
    if change == "shape":
        tensor.shape[int(rng.integers(len(tensor.shape)))] = int(rng.choice(ODD_SIZES))
    elif change == "type":
        tensor.datatype = str(rng.choice([*DATATYPES, "FP17", "", "bytes"]))
    elif change == "name":
        tensor.name = str(rng.choice(NAMES))
    elif change == "length":
        raw = message.raw_input_contents[at]
        longer = raw + rng.bytes(int(rng.integers(1, 9)))
        broken = struct.pack("<I", int(rng.integers(2**32))) + raw[4:]
        choices = (raw[: rng.integers(len(raw))], longer, broken, b"")
        message.raw_input_contents[at] = choices[rng.integers(len(choices))]
    elif change == "twice":
        _add(message, tensor.name, tensor.datatype, list(tensor.shape), b"1234")
    elif change == "missing":
        del message.inputs[at], message.raw_input_contents[at]
    elif change == "rank":
        del tensor.shape[:]
        tensor.shape.extend(int(rng.choice(ODD_SIZES)) for _ in range(rng.integers(0, 12)))
    else:
        tensor.contents.fp32_contents.extend([1.0] * int(rng.integers(1, 9)))
    return message


def _wrong_request(rng: Rng, pictures: list[bytes]) -> Message:
    """The model, the version, the outputs or the parameters are not what they should be."""
    message = _request(rng, "embed_image", pictures[0])
    change = rng.choice(["model", "version", "output", "parameter", "empty", "id"])
    if change == "model":
        message.model_name = str(rng.choice(["", "x", "../detect", "detect\0", "m" * 4000]))
    elif change == "version":
        message.model_version = str(rng.choice(["0", "-1", "2", "one", "9" * 40]))
    elif change == "output":
        message.outputs.add(name=str(rng.choice(NAMES)))
    elif change == "parameter":
        name = str(rng.choice(["timeout", "priority", "sequence_id", "x", "binary_data"]))
        message.parameters[name].string_param = "y" * int(rng.integers(0, 2000))
    elif change == "empty":
        message = service_pb2.ModelInferRequest(model_name=str(rng.choice(VERBS)))
    else:
        message.id = "i" * 100_000
    return message


_KINDS: dict[str, tuple[float, Callable[[Rng, list[bytes]], Message]]] = {
    "picture": (0.5, _wrong_image),
    "text": (0.1, _wrong_text),
    "prompt": (0.1, _wrong_prompt),
    "threshold": (0.02, _wrong_threshold),
    "tensor": (0.2, _wrong_tensor),
    "request": (0.08, _wrong_request),
}


def http_body(rng: Rng) -> bytes:
    """What is posted to a model over HTTP: JSON that is wrong somewhere, or none."""
    value: Any = {"inputs": [{"name": "TEXT", "shape": [1, 1], "datatype": "BYTES", "data": ["x"]}]}
    tensor = value["inputs"][0]
    change = rng.choice(["noise", "cut", "data", "shape", "type", "depth", "binary", "inputs"])
    if change == "noise":
        return rng.bytes(int(rng.integers(0, 2000)))
    if change == "cut":
        text = json.dumps(value).encode()
        return text[: rng.integers(len(text))]
    if change == "depth":
        return b"[" * int(rng.integers(1, 900)) + b"]" * int(rng.integers(0, 900))
    if change == "data":
        tensor["data"] = [None, [[["x"]]], 7, "x", {}, [1e400], []][rng.integers(7)]
    elif change == "shape":
        tensor["shape"] = [[-1], [2**63], ["1"], 1, None, [1, 1, 1], []][rng.integers(7)]
    elif change == "type":
        tensor["datatype"] = ["FP32", "BOOL", 7, None, "", "BYTE"][rng.integers(6)]
    elif change == "binary":
        tensor["parameters"] = {"binary_data_size": int(rng.choice(ODD_SIZES[1:8]))}
    else:
        value["inputs"] = [[], None, {}, "x", [[]], [tensor] * 3][rng.integers(6)]
    return json.dumps(value).encode()
