"""Checks whether a model repository can be served, before anything starts."""

import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fovea.checksums import file_sha256, read_list
from fovea_server.errors import RepositoryError
from fovea_server.safe_paths import is_safe

_CONFIG = "config.pbtxt"
# Backends whose models need a file of weights.
_NETWORK = re.compile(r'^\s*backend\s*:\s*"(onnxruntime|tensorrt)"', re.MULTILINE)
# The precision for OpenVINO, as exports write it: the one parameter of this name.
_OPENVINO_PRECISION = re.compile(
    r'name\s*:\s*"openvino"\s*parameters\s*\{\s*key\s*:\s*"precision"\s*value\s*:\s*"([^"]*)"'
)


def check(repository: Path) -> None:
    """Raise RepositoryError unless there are models with weights and valid names."""
    try:
        models = sorted(config.parent for config in repository.glob(f"*/{_CONFIG}"))
    except OSError as exc:
        raise RepositoryError(f"cannot read {repository}: {exc.strerror}") from exc
    if not models:
        raise RepositoryError(f"{_without_models(repository)}; expected one folder for each model")
    # A model's name is also its stub's argument, on a line that bash reads.
    odd = [model.name for model in models if not is_safe(model.name)]
    if odd:
        raise RepositoryError(
            f"model folder {odd[0]!r}: expected a name of letters, digits and _ - . + = @ % ,"
        )
    networks = [model for model in models if _NETWORK.search(_text(model / _CONFIG))]
    if networks and not any(_has_weights(network) for network in networks):
        names = ", ".join(network.name for network in networks)
        raise RepositoryError(
            f"{repository} has no weights yet ({names}). Export first: `python -m export --set "
            "demo`, then `fovea serve --model-repository build/export/demo/model_repository`"
        )


def check_official_backend(repository: Path) -> None:
    """Raise RepositoryError for settings that the C++ onnxruntime backend ignores.

    It does not pass `precision` on to OpenVINO, which then chooses one itself.
    """
    for config in sorted(repository.glob(f"*/{_CONFIG}")):
        found = _OPENVINO_PRECISION.search(_text(config))
        if found:
            raise RepositoryError(
                f"{config.parent.name} wants OpenVINO in {found[1]}, and the C++ onnxruntime "
                "backend of this Triton ignores that: export with `--runtime onnxruntime`, or "
                "serve it with the tritonserver of nvidia-pytriton"
            )


def verify(repository: Path) -> int:
    """Compare the repository's files with the checksums that its export wrote beside them.

    Returns:
        How many files were compared; 0 for a repository without checksums.

    Raises:
        RepositoryError: a file is missing or differs; the message has both checksums.
    """
    try:
        expected = read_list(repository)
    except ValueError as exc:
        raise RepositoryError(str(exc)) from exc
    # Hashing releases Python's global lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda name: _checksum(repository / name), expected)
        for (name, checksum), actual in zip(expected.items(), found, strict=True):
            if actual != checksum:
                raise RepositoryError(
                    f"{repository / name} is not what was exported: expected SHA-256 {checksum}, "
                    f"found {actual}. Export or copy it again, or serve it as it is with "
                    "--no-verify-checksums"
                )
    return len(expected)


def _without_models(repository: Path) -> str:
    if not repository.is_dir():
        return f"{repository} is not a folder"
    inner = repository / "model_repository"
    hint = f"; did you mean {inner}?" if inner.is_dir() else ""
    return f"{repository} has no models, no folder in it has a {_CONFIG}{hint}"


def _text(path: Path) -> str:
    return path.read_text(errors="replace")


def _has_weights(model: Path) -> bool:
    versions = (folder for folder in model.iterdir() if folder.name.isdigit())
    files = (file for version in versions for file in version.iterdir())
    return any(not file.name.startswith(".") for file in files)


def _checksum(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as exc:
        return f"no readable file ({exc.strerror})"
