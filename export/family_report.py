"""`python -m export.family_report`: puts every family's checkpoints through the gates.

Each is exported, or taken from the cache, and asked once more: are its answers the same alone and
among neighbours, do they vary, are they as exact as PyTorch's, does OpenVINO agree? For TensorRT
for RTX it shows what `make engines-rtx` found.
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
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from export.family_checkpoints import requests
from export.family_engines import all_built
from export.family_gates import LEAST_SPREAD, MOST_DRIFT, gates_of
from export.members import MEMBERS, Exported, MemberExport, Opened, export_member
from export.parity import open_onnxruntime
from export.preprocessing import PIXEL_TOLERANCE
from fovea.families import FAMILIES

# Pictures in one batch.
NEIGHBOURS = 3
# Sums among neighbours, and in other runtimes, may have another order.
MOST_NEIGHBOURS = 1e-4
OPENVINO = 1e-3
GATES = ("spread", "drift", "OpenVINO", "RTX")
TABLE_WIDTH = 150
console = Console()

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """The gates' figures for one checkpoint.

    difference: the worst against PyTorch, over outputs, batches and variants. grey_levels: the
    worst of a pixel against the checkpoint's own processor. texts: how many have the same tokens as
    the checkpoint's own tokenizer gives. neighbours: the largest difference of an answer alone and
    among others, over the largest magnitude of the output if that is above 1. spread, drift,
    openvino: see `export.family_gates.Gates`. rtx: whether every engine was built; None if not
    tried with this code.
    """

    family: str
    checkpoint: str
    role: str
    networks: int
    difference: float
    grey_levels: float
    texts: int
    neighbours: float
    spread: float
    drift: float | None
    openvino: float
    rtx: bool | None

    def gates(self) -> dict[str, bool]:
        """The gates by name; parity held, or there would be no row."""
        return {
            "pixels": self.grey_levels <= PIXEL_TOLERANCE,
            "neighbours": self.neighbours <= MOST_NEIGHBOURS,
            "spread": self.spread >= LEAST_SPREAD,
            "drift": self.drift is None or self.drift <= MOST_DRIFT,
            "openvino": self.openvino <= OPENVINO,
            "rtx": self.rtx is not False,
        }


def row_of(request: MemberExport, exported: Exported) -> Row:
    """Measure one member."""
    record, role = exported.record, exported.member.play()
    agreements = [one for network in record["networks"] for one in network["parity"]]
    opened = request.open()
    gates = gates_of(opened, exported)
    return Row(
        family=exported.member.family,
        checkpoint=exported.member.name,
        role=role.ROLE,
        networks=len(record["networks"]),
        difference=max(agreement["difference"] for agreement in agreements),
        grey_levels=record["preprocessing"]["grey_levels"],
        texts=record["preprocessing"]["texts"],
        neighbours=neighbours(opened, exported),
        spread=gates.spread,
        drift=gates.drift,
        openvino=gates.openvino,
        rtx=all_built(exported.member.family, exported.member.name),
    )


def neighbours(opened: Opened, exported: Exported) -> float:
    """The largest difference between answers alone and among others, as `Row` has it."""
    differences = [
        float(np.abs(among - alone).max()) / max(1.0, float(np.abs(among).max()))
        for among, alone in among_and_alone(opened, exported)
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


def main(
    family: Annotated[list[str] | None, typer.Option(help="Only these; repeatable.")] = None,
    members: Path = MEMBERS,
    out: Annotated[Path, typer.Option("--json")] = Path("build/families.json"),
) -> None:
    """Put every checkpoint of every family through the gates; exits with 1 if one fails.

    Drift from PyTorch stops it, as in any export.
    """
    rows: list[Row] = []
    for one in family or FAMILIES:
        for name, request in requests(one).items():
            with console.status(name) as status:
                exported = export_member(
                    request,
                    members,
                    report=lambda network, what, status=status: status.update(f"{network}: {what}"),
                )
                rows.append(row_of(request, exported))
    out.parent.mkdir(parents=True, exist_ok=True)
    record = [asdict(row) | {"gates": row.gates()} for row in rows]
    out.write_text(json.dumps(record, indent=1) + "\n")
    Console(width=max(TABLE_WIDTH, console.width)).print(_table(rows))
    families = len({row.family for row in rows})
    console.print(f"{len(rows)} checkpoints of {families} families, in {out}")
    failed = [f"{row.checkpoint}: {gate}" for row in rows for gate in _failed(row)]
    if failed:
        console.print("[red]not held:[/]", ", ".join(failed))
        raise typer.Exit(1)
    console.print("all gates hold")


def _failed(row: Row) -> list[str]:
    return [gate for gate, holds in row.gates().items() if not holds]


def _table(rows: list[Row]) -> Table:
    table = Table("checkpoint", "role", title="Every family through the same gates", box=SIMPLE)
    for column in ("networks", "difference", "grey levels", "texts", "neighbours", *GATES):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row.checkpoint,
            row.role,
            str(row.networks),
            f"{row.difference:.1e}",
            f"{row.grey_levels:.2f}",
            str(row.texts),
            f"{row.neighbours:.1e}",
            f"{row.spread:.1e}",
            "–" if row.drift is None else f"{row.drift:.1f}",
            f"{row.openvino:.1e}",
            {True: "built", False: "not built", None: "not tried"}[row.rtx],
        )
    return table


if __name__ == "__main__":
    typer.run(main)
