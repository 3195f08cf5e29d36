"""The checkpoints that stand for each family: those trained for the demo, and tiny stand-ins."""

from __future__ import annotations

from pathlib import Path

from export import stand_ins
from export.checkpoints import find
from export.members import MemberExport
from fovea.members import Source

# Trained checkpoints; tiny ones with random weights stand in for the other families.
TRAINED = Path("demo/checkpoints")
STAND_INS = Path("build/stand-ins")


def requests(family: str) -> dict[str, MemberExport]:
    """A family's exports by the checkpoint's name."""
    trained = TRAINED / family
    found = {family: trained} if trained.is_dir() else {}
    found |= stand_ins.write(family, "tiny", STAND_INS / family)
    options = tuple(stand_ins.options(family).items())
    return {
        name: MemberExport(find(name, Source(str(path), family)), options)
        for name, path in found.items()
    }
