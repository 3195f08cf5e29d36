"""ONNX graphs on disk: one file, or beyond protobuf's 2 GiB a graph and a file of weights."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import onnx
from onnx.external_data_helper import uses_external_data

from fovea.checksums import file_sha256

# A protobuf message ends at 2 GiB; the graph's own nodes need some of it.
EMBEDDED_BYTES = 2**31 - 2**27
# Smaller tensors stay in the graph: shape inference reads some of them.
_EXTERNAL_ABOVE = 1024


def data_path(path: Path) -> Path:
    """The path of the weights of the graph at `path`, if they are not in it."""
    return path.with_name(f"{path.name}.data")


def parts(path: Path) -> list[Path]:
    """The files of the graph at `path`: itself, and any weights beside it."""
    return [part for part in (path, data_path(path)) if part.is_file()]


def load_graph(path: Path) -> onnx.ModelProto:
    """The graph without the weights beside it: enough to read or change nodes."""
    return onnx.load(str(path), load_external_data=False)


def save(model: onnx.ModelProto, path: Path, embedded_bytes: int = EMBEDDED_BYTES) -> None:
    """Write a graph with all its weights loaded, checked by ONNX.

    Weights of more than `embedded_bytes` together go into one file beside it. A file of the same
    name with other weights is replaced.
    """
    data_path(path).unlink(missing_ok=True)
    if _weight_bytes(model) <= embedded_bytes:
        onnx.save(model, str(path))
    else:
        onnx.save(
            model,
            str(path),
            save_as_external_data=True,
            all_tensors_to_one_file=True,
            location=data_path(path).name,
            size_threshold=_EXTERNAL_ABOVE,
        )
    onnx.checker.check_model(str(path))


def save_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write back what `load_graph` read from `path`; weights beside it stay as they are."""
    onnx.save(model, str(path))


def has_external_weights(model: onnx.ModelProto) -> bool:
    """Whether some weights of the loaded graph are in another file."""
    return any(uses_external_data(tensor) for tensor in model.graph.initializer)


def sha256(path: Path) -> str:
    """Hash of the graph at `path` with its weights; for a single file it is the file's own."""
    hashes = [file_sha256(part) for part in parts(path)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def size(path: Path) -> int:
    """Bytes on disk of the graph at `path`, weights included."""
    return sum(os.path.getsize(part) for part in parts(path))


def _weight_bytes(model: onnx.ModelProto) -> int:
    """Bytes of all weights; `ByteSize` fails above 2 GiB, where it matters."""
    attributes = (a.t for node in model.graph.node for a in node.attribute if a.HasField("t"))
    return sum(
        len(tensor.raw_data) + 4 * (len(tensor.float_data) + 2 * len(tensor.int64_data))
        for tensor in (*model.graph.initializer, *attributes)
    )
