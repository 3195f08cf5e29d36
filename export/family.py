"""The torch side of a family: how a checkpoint becomes a spec and traceable networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from export.checkpoints import Checkpoint
from export.network import Network
from export.precision import Policy
from export.processor import Normalization
from fovea.roles import Role

Options = Mapping[str, Any]
# A text -> its tokens as ours and as the checkpoint's own tokenizer has them.
TokenPair = Callable[[str], tuple[list[int], list[int]]]


class FamilyExport(ABC):
    """One architecture; the same name as in `fovea.families`.

    Attributes:
        model_class, processor_class: of transformers.
        OPTIONS: what a deployment may say of a member beside its checkpoint, each with its type.
        POLICIES: of each network, by its part: how it runs in lower precision.
        TEXTS: on which tokens are compared with the checkpoint's own tokenizer.
    """

    model_class: ClassVar[Any]
    processor_class: ClassVar[Any]
    OPTIONS: ClassVar[Mapping[str, type]] = {}
    POLICIES: ClassVar[Mapping[str, Policy]]
    TEXTS: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def read_spec(
        self, checkpoint: Checkpoint, model: Any, processor: Any, options: Options
    ) -> Any:
        """What the steps must know; raises UnsupportedProcessor and InvalidCheckpoint."""

    @abstractmethod
    def networks(self, role: Any, model: Any, normal: Normalization) -> list[Network]:
        """The networks of `role.networks`, in that order."""

    def processor_arguments(self, processor: Any, options: Options) -> dict[str, Any]:
        """What the checkpoint's own processor is told, so that it does as these options say."""
        return {}

    def token_pair(self, checkpoint: Checkpoint, role: Role[Any]) -> TokenPair:
        """How a text is compared with the checkpoint's own tokenizer."""
        raise NotImplementedError(f"{type(self).__name__} has TEXTS, but no tokenizer")
