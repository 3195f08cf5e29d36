"""The classes of a checkpoint, from its config.json."""

from __future__ import annotations

from typing import Any

from export.errors import InvalidCheckpoint


def class_names(family: str, config: Any) -> tuple[str, ...]:
    """The names by class id; raises InvalidCheckpoint unless ids are 0, 1, … without a gap."""
    names = {int(key): str(name) for key, name in config.id2label.items()}
    if sorted(names) != list(range(len(names))):
        raise InvalidCheckpoint(
            f"{family}: expected id2label of config.json to name the classes 0 to "
            f"{len(names) - 1}, got {sorted(names)[:8]}"
        )
    return tuple(names[index] for index in range(len(names)))
