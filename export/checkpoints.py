"""Finds checkpoints, by hub id or in a local folder, and opens them."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from tokenizers import Tokenizer
from transformers import AutoTokenizer
from transformers.utils import logging as hf_logging

from export.checkpoint_files import (
    MOBILE_SAM_WEIGHTS,
    OPEN_CLIP_WEIGHTS,
    SHARDS,
    SIDE_FILES,
    TOKENIZER,
    WEIGHTS,
    family_of,
)
from export.errors import CheckpointUnavailable, ExportError, InvalidCheckpoint
from export.families import load
from export.onnx_detectors import SUFFIX
from export.processor import check_fields
from fovea.checksums import file_sha256
from fovea.members import Source

hf_logging.disable_progress_bar()  # it would cut through the project's own
hf_logging.set_verbosity_error()  # keys that do not fit raise InvalidCheckpoint instead

# How many of the names that do not fit a message shows.
SHOWN_KEYS = 4
# Suffixes of checkpoints that are one file.
FILES = (SUFFIX, Path(MOBILE_SAM_WEIGHTS).suffix)
# For a family that is not known yet.
ANY_WEIGHTS = (*WEIGHTS, *OPEN_CLIP_WEIGHTS, MOBILE_SAM_WEIGHTS)


@dataclass(frozen=True)
class Checkpoint:
    """A member's checkpoint on disk.

    source: as requested. revision: the hub's, or "". folder: of its files, or the one file.
    """

    name: str
    family: str
    source: str
    revision: str
    folder: Path

    def sha256(self) -> str:
        """Hash of all files by name: it changes with weights, config or tokenizer."""
        digest = hashlib.sha256()
        for path in load(self.family).files(self.folder):
            name = "" if path == self.folder else path.relative_to(self.folder).as_posix()
            digest.update(name.encode())
            digest.update(bytes.fromhex(file_sha256(path)))
        return digest.hexdigest()

    def load_model(self, model_class: Any = None, **arguments: Any) -> Any:
        """The transformers model, in float32 and eval mode.

        model_class: instead of the family's. arguments: further arguments of the class.

        Uses transformers' default attention, as its users do: the eager one adds a boolean mask to
        GroundingDINO's text attention instead of applying it (transformers 5.23).
        Raises InvalidCheckpoint unless the checkpoint has every weight of the model.
        """
        cls = model_class or load(self.family).model_class
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # hints about training speed
                model, info = cls.from_pretrained(
                    self.folder,
                    dtype=torch.float32,
                    local_files_only=True,
                    weights_only=True,  # unpickles tensors and runs nothing
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # listed in `info`, and refused below by name
                    **arguments,
                )
        except Exception as error:  # each file format and loader layer raises its own kinds
            raise InvalidCheckpoint(
                f"{self.name}: the weights in {self.folder} cannot be loaded: {error}"
            ) from error
        self._check_keys(cls, info)
        return model.eval().requires_grad_(False)

    def _check_keys(self, cls: Any, info: dict[str, Any]) -> None:
        """`info` is transformers' own, without the keys that the class ignores on purpose."""
        kinds = {
            "missing": sorted(info["missing_keys"]),
            "unexpected": sorted(info["unexpected_keys"]),
            "of another shape": sorted(str(key[0]) for key in info["mismatched_keys"]),
            "with errors": sorted(map(str, info["error_msgs"])),
        }
        told = [_name_keys(kind, keys) for kind, keys in kinds.items() if keys]
        if told:
            raise InvalidCheckpoint(
                f"{self.name}: the weights in {self.folder} are not those of a "
                f"{cls.__name__}: {'; '.join(told)}"
            )

    def load_image_processor(self) -> Any:
        """The checkpoint's own image processor, on Pillow.

        Raises UnsupportedProcessor for unknown settings, and InvalidCheckpoint.
        """
        cls = load(self.family).processor_class
        try:
            settings, _ = cls.get_image_processor_dict(self.folder, local_files_only=True)
            check_fields(self.name, cls, settings, load(self.family).SETTINGS)
            return cls.from_dict(settings)
        except ExportError:
            raise
        except Exception as error:  # missing, not JSON, or inconsistent values
            raise InvalidCheckpoint(
                f"{self.name}: no image processor can be made from {self.folder}: {error}"
            ) from error

    def load_tokenizer(self) -> Any:
        """The checkpoint's own tokenizer, loaded by transformers; raises InvalidCheckpoint."""
        try:
            return AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
        except Exception as error:  # it tries several formats, each with its own errors
            raise InvalidCheckpoint(
                f"{self.name}: transformers can load no tokenizer from {self.folder}: {error}"
            ) from error

    def pad_token_id(self) -> int:
        """The id that the checkpoint's own tokenizer pads with; raises InvalidCheckpoint."""
        found = self.load_tokenizer().pad_token_id
        if found is None:
            raise InvalidCheckpoint(f"{self.name}: the tokenizer in {self.folder} does not pad")
        return int(found)

    def read_tokenizer(self) -> Tokenizer:
        """tokenizer.json, or transformers' own if the folder has only a vocabulary.

        Raises InvalidCheckpoint.
        """
        path = self.folder / TOKENIZER
        if not path.is_file():
            return backend_of(self.load_tokenizer())
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:  # the tokenizers package raises Exception itself
            raise InvalidCheckpoint(f"{path}: no tokenizer: {error}") from error

    def token_id(self, name: str) -> int:
        """The id of a token; raises InvalidCheckpoint."""
        found = self.read_tokenizer().token_to_id(name)
        if found is None:
            raise InvalidCheckpoint(
                f"{self.name}: expected a tokenizer with {name} in {self.folder}, got none"
            )
        return int(found)


def backend_of(tokenizer: Any) -> Tokenizer:
    """The tokenizer.json of a transformers tokenizer.

    Raises InvalidCheckpoint for one that the tokenizers package cannot run (SentencePiece).
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InvalidCheckpoint(
            f"expected a tokenizer that writes {TOKENIZER}, got {type(tokenizer).__name__}: "
            f"copy {TOKENIZER} into the checkpoint's folder"
        )
    return Tokenizer.from_str(backend.to_str())


def _name_keys(kind: str, keys: list[str]) -> str:
    more = f", … ({len(keys)} in all)" if len(keys) > SHOWN_KEYS else ""
    return f"{kind} {', '.join(keys[:SHOWN_KEYS])}{more}"


def find(name: str, source: Source) -> Checkpoint:
    """The checkpoint of a member; raises CheckpointUnavailable and InvalidCheckpoint.

    "id@revision" pins a hub id; otherwise the newest revision is taken. The manifest records which
    one it was.
    """
    folder = Path(source.checkpoint)
    if folder.exists():
        return _checked(name, source, folder, revision="")
    if folder.suffix in FILES:
        raise CheckpointUnavailable(f"{name}: expected a file, there is no {folder}")
    repository, _, revision = source.checkpoint.partition("@")
    try:
        wanted = load(source.family).WEIGHTS if source.family else ANY_WEIGHTS
        cached = Path(_download(repository, revision or None, wanted))
    except ExportError:
        raise
    except Exception as error:  # the hub client raises many kinds, offline and for wrong ids
        raise CheckpointUnavailable(
            f"{name}: {source.checkpoint!r} is not a folder here and could not be had from the hub "
            f"({type(error).__name__}). Copy the checkpoint's folder to this machine (config.json, "
            "model.safetensors, preprocessor_config.json, tokenizer.json) and name it: "
            f"python -m export --checkpoint {name}=FOLDER"
        ) from error
    return _checked(name, source, cached, revision=cached.name)


def _download(repository: str, revision: str | None, wanted: tuple[str, ...]) -> str:
    """The hub's snapshot with one kind of weights: the first of those wanted.

    A snapshot that is already in the hub's cache needs no network.
    """
    try:
        names = HfApi().list_repo_files(repository, revision=revision)
    except HfHubHTTPError:
        raise
    except Exception:  # offline, each HTTP library raises its own error
        return snapshot_download(repository, revision=revision, local_files_only=True)
    weights = next((name for name in wanted if name in names), None)
    if weights is None:
        raise CheckpointUnavailable(f"{repository}: expected one of {', '.join(wanted)}, got none")
    patterns = [*SIDE_FILES, weights, *([SHARDS[weights]] if weights in SHARDS else [])]
    return snapshot_download(
        repository, revision=revision, allow_patterns=patterns, ignore_patterns="*/*"
    )


def _checked(name: str, source: Source, folder: Path, *, revision: str) -> Checkpoint:
    family = source.family or family_of(name, folder)
    load(family).check_files(name, family, folder)
    asked = source.checkpoint.partition("@")[0] if revision else source.checkpoint
    return Checkpoint(name, family, asked, revision, folder)
