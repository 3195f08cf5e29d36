"""`python -m export.family_report`: every family's checkpoints through the gates, as one table.

Each is exported, or taken from where it is kept, and asked once more: are its answers the same
alone and among neighbours?
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from export import stand_ins
from export.checkpoints import find
from export.members import MEMBERS, Exported, MemberExport, Opened, export_member
from export.parity import open_onnxruntime
from fovea.families import FAMILIES
from fovea.members import Source

# Checkpoints that the demo trained, and tiny ones of random weights for what it did not.
TRAINED = Path("demo/checkpoints")
STAND_INS = Path("build/stand-ins")
# How many pictures are asked together.
NEIGHBOURS = 3
console = Console()

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """What the gates found of one checkpoint.

    difference: the worst against PyTorch, over outputs, batches and variants. grey_levels: the
    worst of a pixel against the checkpoint's own processor. texts: that have the tokens of the
    checkpoint's own tokenizer. neighbours: the largest difference of an answer alone and among
    others, over the largest magnitude of the output where that is above 1.
    """

    family: str
    checkpoint: str
    role: str
    networks: int
    difference: float
    grey_levels: float
    texts: int
    neighbours: float


def row_of(request: MemberExport, exported: Exported) -> Row:
    """One member's figures."""
    record, role = exported.record, exported.member.play()
    agreements = [one for network in record["networks"] for one in network["parity"]]
    return Row(
        family=exported.member.family,
        checkpoint=exported.member.name,
        role=role.ROLE,
        networks=len(record["networks"]),
        difference=max(agreement["difference"] for agreement in agreements),
        grey_levels=record["preprocessing"]["grey_levels"],
        texts=record["preprocessing"]["texts"],
        neighbours=neighbours(request, exported),
    )


def neighbours(request: MemberExport, exported: Exported) -> float:
    """The largest difference between answers alone and among others, as `Row` has it."""
    differences = [
        float(np.abs(among - alone).max()) / max(1.0, float(np.abs(among).max()))
        for among, alone in among_and_alone(request.open(), exported)
    ]
    return max(differences)


def among_and_alone(opened: Opened, exported: Exported) -> Iterator[tuple[Floats, Floats]]:
    """Every output of every network, for a picture among NEIGHBOURS and for the same one alone."""
    for network in opened.networks:
        session = open_onnxruntime(exported.graph(opened.role.part(network.spec.name)))
        names = [tensor.name for tensor in network.spec.outputs]
        batch = network.sample(NEIGHBOURS, 0)
        together = session.run(names, batch)
        for place in range(NEIGHBOURS):
            alone = session.run(names, {key: array[[place]] for key, array in batch.items()})
            yield from ((many[place], one[0]) for many, one in zip(together, alone, strict=True))


def requests(family: str) -> dict[str, MemberExport]:
    """What is exported of a family, by the checkpoint's name."""
    trained = TRAINED / family
    found = {family: trained} if trained.is_dir() else {}
    found |= stand_ins.write(family, "tiny", STAND_INS / family)
    options = tuple(stand_ins.options(family).items())
    return {
        name: MemberExport(find(name, Source(str(path), family)), options)
        for name, path in found.items()
    }


def main(
    members: Path = MEMBERS,
    out: Annotated[Path, typer.Option("--json")] = Path("build/families.json"),
) -> None:
    """Every checkpoint of every family; drift stops it, as it stops an export."""
    rows: list[Row] = []
    for family in FAMILIES:
        for name, request in requests(family).items():
            with console.status(name) as status:
                exported = export_member(
                    request,
                    members,
                    report=lambda network, what, status=status: status.update(f"{network}: {what}"),
                )
                rows.append(row_of(request, exported))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    console.print(_table(rows))
    families = len({row.family for row in rows})
    console.print(f"{len(rows)} checkpoints of {families} families, all within tolerance, in {out}")


def _table(rows: list[Row]) -> Table:
    table = Table("family", "checkpoint", "role", title="Every family through the same gates")
    for column in ("networks", "difference", "grey levels", "texts equal", "neighbours"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row.family,
            row.checkpoint,
            row.role,
            str(row.networks),
            f"{row.difference:.1e}",
            f"{row.grey_levels:.2f}",
            str(row.texts),
            f"{row.neighbours:.1e}",
        )
    return table


if __name__ == "__main__":
    typer.run(main)
