"""The checksums that travel with a model repository, as `sha256sum` writes and checks them.

`SHA256SUMS` lies in the repository's own folder and names every file whose bytes decide the
answers: weights, those beside a graph too, engines and tokenizers. A line is the hash in hex, two
spaces, and the path from the repository, with '/'. `sha256sum --check SHA256SUMS` there verifies a
copy, and so can a server before it loads anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from export.onnx_files import file_sha256

CHECKSUMS = "SHA256SUMS"
SUFFIXES = (".onnx", ".onnx.data", ".plan", "tokenizer.json")


def write_checksums(repository: Path, models: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Write SHA256SUMS for what is there of `models`; returns path -> bytes and sha256."""
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
    lines = (f"{file['sha256']}  {name}\n" for name, file in files.items())
    draft = repository / f".{CHECKSUMS}"
    draft.write_text("".join(lines))
    draft.replace(repository / CHECKSUMS)
    return files
