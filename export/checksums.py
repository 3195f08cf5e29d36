"""Checksums of the files in a model repository that decide the answers (`fovea.checksums`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fovea.checksums import file_sha256, write_list

SUFFIXES = (".onnx", ".onnx.data", ".plan", "tokenizer.json")


def write_checksums(repository: Path, models: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Write SHA256SUMS for the files of `models`; returns path -> bytes and sha256."""
    paths = sorted(
        path
        for model in models
        for path in (repository / model).glob("*/*")
        if path.name.endswith(SUFFIXES)
    )
    files = {
        path.relative_to(repository).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": file_sha256(path),
        }
        for path in paths
    }
    write_list(repository, {name: file["sha256"] for name, file in files.items()})
    return files
