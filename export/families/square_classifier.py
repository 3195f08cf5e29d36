"""What classifiers share: one network, and the classes of the config."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from torch import Tensor, nn

from export.errors import InvalidCheckpoint
from export.families.clip import sample_image
from export.family import FamilyExport
from export.network import Network
from export.pixels import Normalize
from export.precision import Policy
from export.processor import Normalization
from fovea.specs import Tolerance


class LogitsOf(nn.Module):
    """pixel_values uint8 [N, 3, S, S] -> logits [N, C]."""

    def __init__(self, model: Any, normal: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normal.mean, normal.std)
        self.model = model

    def forward(self, pixel_values: Tensor) -> Tensor:
        logits: Tensor = self.model(pixel_values=self.normalize(pixel_values)).logits
        return logits


def read_labels(family: str, config: Any) -> tuple[str, ...]:
    """The names of the classes in the order of the logits; raises InvalidCheckpoint."""
    named = {int(index): str(label) for index, label in config.id2label.items()}
    if sorted(named) != list(range(len(named))) or not named:
        raise InvalidCheckpoint(
            f"{family}: expected an id2label of 0 to {max(len(named) - 1, 0)}, "
            f"got {sorted(named)[:8]}"
        )
    return tuple(named[index] for index in range(len(named)))


def is_multi_label(family: str, config: Any) -> bool:
    """Whether scores are sigmoids, as transformers' image-classification pipeline decides.

    Raises InvalidCheckpoint for a regression: its outputs are not scores.
    """
    if config.problem_type == "regression":
        raise InvalidCheckpoint(f"{family}: expected a classifier, got problem_type='regression'")
    return config.problem_type == "multi_label_classification" or config.num_labels == 1


class SquareClassifierExport(FamilyExport):
    """A transformers model that makes logits of a square picture."""

    POLICIES: ClassVar[dict[str, Policy]] = {
        "classifier": Policy(
            kept=(),
            quantized=(),
            quantized_reason="never tried",
            fp16=Tolerance(difference=1e-2),
            int8=Tolerance(),
            bf16=Tolerance(difference=5e-2),
        ),
    }

    def network(self, model: Any, normal: Normalization) -> nn.Module:
        """pixel_values -> logits."""
        return LogitsOf(model, normal)

    def networks(self, role: Any, model: Any, normal: Normalization) -> list[Network]:
        sample = partial(sample_image, role.spec.image_size)
        return [Network(role.image_network, self.network(model, normal), sample, variants=2)]
