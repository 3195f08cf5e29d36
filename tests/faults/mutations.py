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
from fovea_client.requests import Request
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
POINTS = {
    "POINT_COORDS": np.array([[[20, 30], [90, 120]]], np.float32),
    "POINT_LABELS": np.array([[1, 1]], np.int32),
}
# Of a body in JSON: a tensor that is right, values that are wrong in it, and lists of tensors.
TENSOR = {"name": "TEXT", "shape": [1, 1], "datatype": "BYTES", "data": ["x"]}
WRONG_FIELDS: dict[str, tuple[Any, ...]] = {
    "data": (None, [[["x"]]], 7, "x", {}, [1e400], []),
    "shape": ([-1], [2**63], ["1"], 1, None, [1, 1, 1], []),
    "datatype": ("FP32", "BOOL", 7, None, "", "BYTE"),
    "parameters": tuple({"binary_data_size": size} for size in ODD_SIZES[1:8]),
}
WRONG_INPUTS = ([], None, {}, "x", [[]], [TENSOR] * 3)


@dataclass(frozen=True)
class Fuzzed:
    """A gRPC request, and the kind of its mutation."""

    kind: str
    message: Message


def _any(draw: Draw, *choices: Any) -> Any:
    return draw(st.sampled_from(choices))


def _number(draw: Draw, least: int, most: int) -> int:
    return draw(st.integers(least, most))


def images(pictures: list[bytes]) -> st.SearchStrategy[bytes]:
    """An encoded picture, altered."""
    picture, edge = st.sampled_from(pictures), st.sampled_from(HUGE_EDGES)
    place = st.floats(0, 1, exclude_max=True)
    beginning = st.builds(lambda data, part: data[: int(part * len(data))], picture, place)
    end = st.builds(lambda data, part: data[int(part * len(data)) :], picture, place)
    flips = st.lists(st.tuples(place, st.integers(0, 7)), min_size=1, max_size=50)
    magic = st.binary(min_size=1, max_size=16)
    return st.one_of(
        beginning,
        st.builds(bytes.__add__, beginning, end),
        st.builds(_flip, picture, flips),
        st.builds(lambda start, data: start + data[16:], magic, picture),
        st.binary(max_size=4096),
        st.builds(_declared_size, edge, edge, st.sampled_from(["png", "jpeg", "webp"])),
        st.builds(
            _bomb, st.sampled_from([500, 1000, 1500]), st.sampled_from(["PNG", "WEBP", "JPEG"])
        ),
    )


def _flip(picture: bytes, flips: list[tuple[float, int]]) -> bytes:
    """The picture with some bits flipped: each by its byte's place (0 to 1) and its number."""
    data = bytearray(picture)
    for place, bit in flips:
        data[int(place * len(data))] ^= 1 << bit
    return bytes(data)


def _declared_size(width: int, height: int, kind: str) -> bytes:
    """A header that promises far more pixels than anybody should allocate."""
    out = io.BytesIO()
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


def _request(verb: str, image: bytes, **more: Any) -> Message:
    """A request that is valid if the picture and what is added to it are."""
    texts = {} if verb == "embed_image" else {"TEXT": ("cat", "dog")}
    inputs = POINTS if verb == "segment" else texts
    return Request(verb, {"IMAGE": image, **inputs, **more}).message(None)


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
    verb = _any(draw, "embed_text", *VERBS[1:3])
    if verb == "embed_text":  # another number is a wrong shape, not a wrong text
        return Request(verb, {"TEXT": draw(texts)}).message(None)
    labels = draw(st.lists(texts, max_size=2)) * _any(draw, 1, 1, 1, 40, 1500)
    return _request(verb, pictures[0], TEXT=tuple(labels))


def _wrong_prompt(draw: Draw, pictures: list[bytes]) -> Message:
    sets, points, more = (_number(draw, 0, most) for most in (140, 20, 1))
    coords = draw(st.lists(st.sampled_from(ODD_FLOATS), min_size=1))
    labels = draw(st.lists(st.integers(-3, 5), min_size=1))
    return _request(
        "segment",
        pictures[0],
        POINT_COORDS=np.resize(np.array(coords, np.float32), (sets, points, 2)),
        POINT_LABELS=np.resize(np.array(labels, np.int32), (sets, points + more)),
    )


def _wrong_threshold(draw: Draw, pictures: list[bytes]) -> Message:
    return _request("detect", pictures[0], BOX_THRESHOLD=_any(draw, *ODD_FLOATS))


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
        message.inputs.append(tensor)
        message.raw_input_contents.append(b"1234")
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


def http_bodies() -> st.SearchStrategy[bytes]:
    """A body that is posted to a model over HTTP: JSON that is wrong somewhere, or no JSON."""
    wrong = [[[TENSOR | {key: value}] for value in values] for key, values in WRONG_FIELDS.items()]
    lists = st.one_of(*map(st.sampled_from, [*wrong, WRONG_INPUTS]))
    bodies = lists.map(lambda inputs: json.dumps({"inputs": inputs}).encode())
    whole = json.dumps({"inputs": [TENSOR]}).encode()
    opened, closed = st.integers(1, 900), st.integers(0, 900)
    return st.one_of(
        bodies,
        st.integers(0, len(whole) - 1).map(lambda end: whole[:end]),
        st.builds(lambda opens, closes: b"[" * opens + b"]" * closes, opened, closed),
        st.binary(max_size=2000),
    )
