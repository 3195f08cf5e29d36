"""Wrong requests as hypothesis strategies, which shrink a failing one to the smallest."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from tritonclient.grpc import service_pb2

Message = Any
Draw = Callable[[st.SearchStrategy[Any]], Any]

VERBS = ("embed_image", "detect", "main_object", "segment", "detect_and_segment")
DATATYPES = ("BYTES", "FP32", "INT32", "FP64", "INT64", "UINT8", "BOOL")
NAMES = ("IMAGE", "TEXT", "POINT_COORDS", "POINT_LABELS", "BOX_THRESHOLD", "", "image", "é" * 50)
ODD_SIZES = (-(2**62), -1, 0, 1, 2, 3, 7, 1000, 2**31 - 1, 2**31, 2**62)
ODD_FLOATS = (np.nan, np.inf, -np.inf, -1.0, 0.0, 1e-40, 3e38, 1e9, 50.0)
HUGE_EDGES = (30_000, 65_500, 2**31 - 1)


@dataclass(frozen=True)
class Fuzzed:
    """A gRPC request, and the kind of its mutation."""

    kind: str
    message: Message


def _any(draw: Draw, *choices: Any) -> Any:
    return draw(st.sampled_from(choices))


def _number(draw: Draw, least: int, most: int) -> int:
    return draw(st.integers(least, most))


@st.composite
def images(draw: Draw, pictures: list[bytes]) -> bytes:
    """An encoded picture, altered."""
    data = bytearray(_any(draw, *pictures))
    at = _number(draw, 0, len(data) - 1)
    change = _any(draw, "cut", "flip", "magic", "splice", "noise", "sizes", "bomb")
    if change == "cut":
        return bytes(data[:at])
    if change == "magic":
        return draw(st.binary(min_size=1, max_size=16)) + bytes(data[16:])
    if change == "noise":
        return draw(st.binary(max_size=4096))
    if change == "sizes":
        return _declared_size(draw)
    if change == "bomb":
        return _bomb(_any(draw, 500, 1000, 1500), _any(draw, "PNG", "WEBP", "JPEG"))
    if change == "splice":
        other = _any(draw, *pictures)
        return bytes(data[:at]) + other[_number(draw, 0, len(other) - 1) :]
    for place in draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=50)):
        data[place] ^= 1 << _number(draw, 0, 7)
    return bytes(data)


def _declared_size(draw: Draw) -> bytes:
    """A header that promises far more pixels than anybody should allocate."""
    width, height = _any(draw, *HUGE_EDGES), _any(draw, *HUGE_EDGES)
    kind, out = _any(draw, "png", "jpeg", "webp"), io.BytesIO()
    if kind == "png":
        out.write(b"\x89PNG\r\n\x1a\n")
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        PngImagePlugin.putchunk(out, b"IHDR", header)
        PngImagePlugin.putchunk(out, b"IEND", b"")
        return out.getvalue()
    if kind == "jpeg":
        Image.new("RGB", (1, 1)).save(out, "JPEG")
        frame = out.getvalue().index(b"\xff\xc0") + 5  # its marker, length and depth
        edges = struct.pack(">HH", min(height, 65_500), min(width, 65_500))
        return out.getvalue()[:frame] + edges + out.getvalue()[frame + 4 :]
    edges = struct.pack("<I", 16_383)[:3] * 2
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + edges


@cache
def _bomb(edge: int, kind: str) -> bytes:
    """A small file that grows when it is unpacked: pixels, and in a PNG text beside them."""
    out, info = io.BytesIO(), PngImagePlugin.PngInfo()
    info.add_text("Comment", "\0" * 20_000_000, zip=True)
    more = {"pnginfo": info} if kind == "PNG" else {}
    Image.new("L", (edge, edge)).save(out, kind, **more)
    return out.getvalue()


def _add(message: Message, name: str, datatype: str, shape: list[int], raw: bytes) -> None:
    message.inputs.add(name=name, datatype=datatype, shape=shape)
    message.raw_input_contents.append(raw)


def _add_bytes(message: Message, name: str, values: list[bytes]) -> None:
    content = b"".join(struct.pack("<I", len(value)) + value for value in values)
    _add(message, name, "BYTES", [1, len(values)], content)


def _add_array(message: Message, name: str, datatype: str, array: np.ndarray) -> None:
    _add(message, name, datatype, list(array.shape), array.tobytes())


def _request(verb: str, image: bytes) -> Message:
    """A valid request, if the picture is valid."""
    message = service_pb2.ModelInferRequest(model_name=verb)
    _add_bytes(message, "IMAGE", [image])
    if verb == "segment":
        coords = np.array([[[[20, 30], [90, 120]]]], np.float32)
        _add_array(message, "POINT_COORDS", "FP32", coords)
        _add_array(message, "POINT_LABELS", "INT32", np.array([[[1, 1]]], np.int32))
    elif verb != "embed_image":
        _add_bytes(message, "TEXT", [b"cat", b"dog"])
    return message


def _wrong_picture(draw: Draw, pictures: list[bytes]) -> Message:
    return _request(_any(draw, *VERBS), draw(images(pictures)))


def _wrong_text(draw: Draw, pictures: list[bytes]) -> Message:
    texts = st.one_of(
        st.binary(max_size=300),
        st.text(max_size=3000).map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.integers(0, 1500).map(lambda count: b". " * count),
        st.integers(60, 70).map(lambda count: b"x." * count),
        st.just(b"\0cat. \xed\xa0\x80"),
    )
    repeats = _any(draw, 1, 1, 1, 40, 1500)
    labels = draw(st.lists(texts, max_size=2)) * repeats
    message = service_pb2.ModelInferRequest(model_name=_any(draw, "embed_text", *VERBS[1:3]))
    if message.model_name == "embed_text":  # another number is a wrong shape, not a wrong text
        labels = [draw(texts)]
    else:
        _add_bytes(message, "IMAGE", [pictures[0]])
    _add_bytes(message, "TEXT", labels)
    return message


def _wrong_prompt(draw: Draw, pictures: list[bytes]) -> Message:
    message = service_pb2.ModelInferRequest(model_name="segment")
    _add_bytes(message, "IMAGE", [pictures[0]])
    sets, points, more = (_number(draw, 0, most) for most in (140, 20, 1))
    coords = np.resize(draw(st.lists(st.sampled_from(ODD_FLOATS), min_size=1)), 2 * sets * points)
    labels = np.resize(draw(st.lists(st.integers(-3, 5), min_size=1)), sets * (points + more))
    shaped = coords.astype(np.float32).reshape(1, sets, points, 2)
    _add_array(message, "POINT_COORDS", "FP32", shaped)
    shaped = labels.astype(np.int32).reshape(1, sets, points + more)
    _add_array(message, "POINT_LABELS", "INT32", shaped)
    return message


def _wrong_threshold(draw: Draw, pictures: list[bytes]) -> Message:
    message = _request("detect", pictures[0])
    _add_array(message, "BOX_THRESHOLD", "FP32", np.array([[_any(draw, *ODD_FLOATS)]], np.float32))
    return message


def _wrong_tensor(draw: Draw, pictures: list[bytes]) -> Message:
    """The shape, type, name or length of one tensor is wrong for the verb."""
    message = _request(_any(draw, *VERBS), pictures[0])
    at = _number(draw, 0, len(message.inputs) - 1)
    tensor, raw = message.inputs[at], message.raw_input_contents[at]
    change = _any(draw, "shape", "type", "name", "length", "twice", "missing", "rank", "typed")
    if change == "shape":
        tensor.shape[_number(draw, 0, len(tensor.shape) - 1)] = _any(draw, *ODD_SIZES)
    elif change == "type":
        tensor.datatype = _any(draw, *DATATYPES, "FP17", "", "bytes")
    elif change == "name":
        tensor.name = _any(draw, *NAMES)
    elif change == "length":
        cut, prefix = _number(draw, 0, len(raw) - 1), struct.pack("<I", _number(draw, 0, 2**32 - 1))
        longer = raw + draw(st.binary(min_size=1, max_size=8))
        message.raw_input_contents[at] = _any(draw, raw[:cut], longer, prefix + raw[4:], b"")
    elif change == "twice":
        _add(message, tensor.name, tensor.datatype, list(tensor.shape), b"1234")
    elif change == "missing":
        del message.inputs[at], message.raw_input_contents[at]
    elif change == "rank":
        del tensor.shape[:]
        tensor.shape.extend(draw(st.lists(st.sampled_from(ODD_SIZES), max_size=11)))
    else:
        tensor.contents.fp32_contents.extend([1.0] * _number(draw, 1, 8))
    return message


def _wrong_request(draw: Draw, pictures: list[bytes]) -> Message:
    """The model, the version, the outputs or the parameters are wrong."""
    message = _request("embed_image", pictures[0])
    change = _any(draw, "model", "version", "output", "parameter", "empty", "id")
    if change == "model":
        message.model_name = _any(draw, "", "x", "../detect", "detect\0", "m" * 4000)
    elif change == "version":
        message.model_version = _any(draw, "0", "-1", "2", "one", "9" * 40)
    elif change == "output":
        message.outputs.add(name=_any(draw, *NAMES))
    elif change == "parameter":
        name = _any(draw, "timeout", "priority", "sequence_id", "x", "binary_data")
        message.parameters[name].string_param = "y" * _number(draw, 0, 2000)
    elif change == "empty":
        message = service_pb2.ModelInferRequest(model_name=_any(draw, *VERBS))
    else:
        message.id = "i" * 100_000
    return message


# Each kind with its share in 50.
_KINDS: dict[str, tuple[int, Callable[[Draw, list[bytes]], Message]]] = {
    "picture": (25, _wrong_picture),
    "text": (5, _wrong_text),
    "prompt": (5, _wrong_prompt),
    "threshold": (1, _wrong_threshold),
    "tensor": (10, _wrong_tensor),
    "request": (4, _wrong_request),
}


@st.composite
def requests(draw: Draw, pictures: list[bytes]) -> Fuzzed:
    """A wrong gRPC request of any kind."""
    kind = _any(draw, *(kind for kind, (share, _) in _KINDS.items() for _ in range(share)))
    return Fuzzed(kind, _KINDS[kind][1](draw, pictures))


@st.composite
def http_bodies(draw: Draw) -> bytes:
    """A body that is posted to a model over HTTP: JSON that is wrong somewhere, or no JSON."""
    value: Any = {"inputs": [{"name": "TEXT", "shape": [1, 1], "datatype": "BYTES", "data": ["x"]}]}
    tensor = value["inputs"][0]
    change = _any(draw, "noise", "cut", "data", "shape", "type", "depth", "binary", "inputs")
    if change == "noise":
        return draw(st.binary(max_size=2000))
    if change == "cut":
        text = json.dumps(value).encode()
        return text[: _number(draw, 0, len(text) - 1)]
    if change == "depth":
        return b"[" * _number(draw, 1, 900) + b"]" * _number(draw, 0, 900)
    if change == "data":
        tensor["data"] = _any(draw, None, [[["x"]]], 7, "x", {}, [1e400], [])
    elif change == "shape":
        tensor["shape"] = _any(draw, [-1], [2**63], ["1"], 1, None, [1, 1, 1], [])
    elif change == "type":
        tensor["datatype"] = _any(draw, "FP32", "BOOL", 7, None, "", "BYTE")
    elif change == "binary":
        tensor["parameters"] = {"binary_data_size": _any(draw, *ODD_SIZES[1:8])}
    else:
        value["inputs"] = _any(draw, [], None, {}, "x", [[]], [tensor] * 3)
    return json.dumps(value).encode()
