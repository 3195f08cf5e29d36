"""The torch side of a family: how a checkpoint becomes a spec and traceable networks."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import Tokenizer

from export.checkpoint_files import TOKENIZER, WEIGHTS, check_files, files
from export.checkpoints import Checkpoint
from export.network import Network
from export.precision import Policy
from export.processor import Normalization, normalization
from fovea.roles import Role

Options = Mapping[str, Any]
# A text -> its tokens as fovea makes them, and as the checkpoint's own tokenizer does.
TokenPair = Callable[[str], tuple[list[int], list[int]]]


class FamilyExport(ABC):
    """One architecture; the same name as in `fovea.families`.

    Checkpoints are folders in the layout of transformers; a family with other files overrides how
    they are found, checked and opened.

    Attributes:
        model_class, processor_class: of transformers, unless the family opens its own.
        SETTINGS: image processor settings that this family honours beside the usual ones.
        WEIGHTS: names that a file of weights may have, the preferred first.
        OPTIONS: what a deployment may set for a member beside its checkpoint, with types.
        POLICIES: how each network runs in lower precision, by its part.
        TEXTS: samples whose tokens are compared with the checkpoint's own tokenizer.
    """

    model_class: ClassVar[Any]
    processor_class: ClassVar[Any]
    SETTINGS: ClassVar[tuple[str, ...]] = ()
    WEIGHTS: ClassVar[tuple[str, ...]] = WEIGHTS
    OPTIONS: ClassVar[Mapping[str, type]] = {}
    POLICIES: ClassVar[Mapping[str, Policy]]
    TEXTS: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> Any:
        """What the steps need to know; raises UnsupportedProcessor and InvalidCheckpoint."""

    @abstractmethod
    def networks(self, role: Any, model: Any, normal: Normalization) -> list[Network]:
        """The networks of `role.networks`, in that order."""

    def files(self, path: Path) -> list[Path]:
        """All files that decide a checkpoint's answers; raises CheckpointUnavailable."""
        return files(path)

    def check_files(self, name: str, family: str, path: Path) -> None:
        """Raise CheckpointUnavailable or InvalidCheckpoint unless this family's files are there."""
        check_files(name, family, path)

    def load_model(self, checkpoint: Checkpoint) -> Any:
        """The weights, in float32 and eval mode; raises InvalidCheckpoint."""
        return checkpoint.load_model()

    def load_processor(self, checkpoint: Checkpoint) -> Any:
        """The checkpoint's own processor, the reference for pixels.

        Called with a Pillow picture and return_tensors="np", it gives pixel_values. Raises
        UnsupportedProcessor and InvalidCheckpoint.
        """
        return checkpoint.load_image_processor()

    def load_tokenizer(self, checkpoint: Checkpoint) -> Any:
        """The checkpoint's own tokenizer, the reference for tokens; raises InvalidCheckpoint."""
        return checkpoint.load_tokenizer()

    def read_tokenizer(self, checkpoint: Checkpoint) -> Tokenizer:
        """The tokenizer.json that steps read; raises InvalidCheckpoint."""
        return checkpoint.read_tokenizer()

    def write_file(self, checkpoint: Checkpoint, name: str, target: Path) -> None:
        """Write one of the role's FILES, for steps to read; raises InvalidCheckpoint."""
        if name == TOKENIZER:
            self.read_tokenizer(checkpoint).save(str(target))
        else:
            shutil.copyfile(checkpoint.folder / name, target)

    def normalization(self, processor: Any) -> Normalization:
        """The formula that the processor applies to a pixel's value."""
        return normalization(processor)

    def processor_arguments(self, processor: Any, options: Options) -> dict[str, Any]:
        """The arguments that make the checkpoint's own processor follow these options."""
        return {}

    def token_pair(self, checkpoint: Checkpoint, role: Role[Any]) -> TokenPair:
        """How to compare a text's tokens with the checkpoint's own tokenizer."""
        raise NotImplementedError(f"{type(self).__name__} has TEXTS, but no tokenizer")
