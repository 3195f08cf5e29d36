"""The checksums that travel with a model repository, in the format of `sha256sum`.

`SHA256SUMS` lies in the repository's own folder and names every file whose bytes decide the
answers: weights (also those beside a graph), engines and tokenizers. A line is the hash in hex,
two spaces, and the path from the repository, with '/'. `sha256sum --check SHA256SUMS` there
verifies a copy, and a server can do the same before it loads anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

CHECKSUMS = "SHA256SUMS"
_CHUNK = 2**20


def file_sha256(path: Path) -> str:
    """Hash of a file of any size, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_list(repository: Path, checksums: Mapping[str, str]) -> None:
    """Write path -> hash as the repository's list, atomically."""
    lines = (f"{checksum}  {name}\n" for name, checksum in checksums.items())
    draft = repository / f".{CHECKSUMS}"
    draft.write_text("".join(lines))
    draft.replace(repository / CHECKSUMS)


def read_list(repository: Path) -> dict[str, str]:
    """The repository's list, path -> hash; empty if it has none.

    Raises:
        ValueError: a line is not "<sha256>  <path>".
    """
    path = repository / CHECKSUMS
    if not path.is_file():
        return {}
    checksums = {}
    for line in path.read_text(errors="replace").splitlines():
        checksum, between, name = line.partition("  ")
        if not between:
            raise ValueError(f"{path}: expected '<sha256>  <path>' on each line, got {line!r}")
        checksums[name] = checksum
    return checksums
