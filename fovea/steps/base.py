"""The base of steps, and their surroundings."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from fovea import text
from fovea.errors import InvalidThreshold, Overloaded
from fovea.limits import Limits
from fovea.members import Member
from fovea.roles import Arrays, Role
from fovea.specs import from_json

T = TypeVar("T")


class Context(Protocol):
    """A step's surroundings: Triton in production, the test itself in tests.

    Attributes:
        folder: of its members' files.
        parameters: of its configuration.
    """

    folder: Path
    parameters: Mapping[str, str]

    def call_model(self, name: str, inputs: Arrays, outputs: list[str]) -> Arrays:
        """Run another model on a batch; raises an error that describes a failure."""

    def count(self, metric: str, amount: int) -> None:
        """Add to one of the step's METRICS."""

    def room_for(self, models: Collection[str]) -> bool:
        """Whether these models can take one more request within its caller's time."""


class Step:
    """Base of the steps; `run` may be called by several threads at once.

    METRICS: its counters with a description each. WORKERS: requests that one process handles at
    once. CALLS_MODELS: whether it mostly waits for other models, and can take more requests
    meanwhile.
    """

    METRICS: ClassVar[Mapping[str, str]] = {}
    WORKERS: ClassVar[int] = 2
    CALLS_MODELS: ClassVar[bool] = False

    def __init__(self, context: Context) -> None:
        self.context = context
        self.limits = self.setting("limits", Limits)
        members: tuple[Member, ...] = self.setting("members", tuple[Member, ...])
        self.roles: Mapping[str, Role[Any]] = {member.name: member.play() for member in members}

    def run(self, inputs: Arrays, wanted: frozenset[str]) -> Arrays:
        """The tensors of one request without batch axis -> those that are wanted."""
        raise NotImplementedError

    def setting(self, name: str, kind: type[T]) -> T:
        """A parameter of the step's configuration."""
        return from_json(kind, self.context.parameters[name])

    def check_room(self, models: Collection[str]) -> None:
        """Raise Overloaded unless these models can take one more request in time."""
        if not self.context.room_for(models):
            raise Overloaded(f"too many requests wait for one of {', '.join(sorted(set(models)))}")

    def read_labels(self, inputs: Arrays) -> list[str]:
        """The elements of TEXT; raises InvalidText."""
        return text.decode_labels(inputs["TEXT"].tolist(), self.limits)


def read_threshold(inputs: Arrays, name: str, default: float) -> float:
    """A number within [0, 1]; raises InvalidThreshold."""
    if name not in inputs:
        return default
    value = float(inputs[name][0])
    if not 0 <= value <= 1:
        raise InvalidThreshold(f"{name}: expected a number within [0, 1], got {value}")
    return value
