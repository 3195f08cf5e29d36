"""`python -m export.prune`: remove kept members that no export uses any more.

Exports stay whole: they hold their own links or copies of the graphs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from export.assembly import exclusive
from export.members import MEMBERS, RECORD, read_record
from fovea.layout import MANIFEST

EXPORTS = Path("build/export")
console = Console()


@dataclass(frozen=True)
class Kept:
    """A folder of an exported member.

    exports: folders of exports that use it; if empty, it is to be removed. freed_bytes: the space
    that its removal frees, without files that exports link to.
    """

    name: str
    exports: tuple[str, ...]
    freed_bytes: int


def survey(members: Path, exports: Path) -> list[Kept]:
    """Every kept member below `members`, with the exports below `exports` that use it.

    Folders without a member's record are ignored.
    """
    makers: dict[str, list[str]] = {}
    for path in sorted(exports.glob(f"*/{MANIFEST}")):
        for name in _kept_names(read_record(path) or {}):
            makers.setdefault(name, []).append(str(path.parent))
    return [
        Kept(folder.name, tuple(makers.get(folder.name, ())), _freed_bytes(folder))
        for folder in sorted(record.parent for record in members.glob(f"*/{RECORD}"))
    ]


def _kept_names(manifest: dict[str, Any]) -> Iterable[str]:
    """Names of an export's members; none for an export of a version that did not record them."""
    checkpoints = manifest.get("request", {}).get("checkpoints", {})
    return {record["kept"] for record in checkpoints.values() if "kept" in record}


def _freed_bytes(folder: Path) -> int:
    stats = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(stat.st_size for stat in stats if stat.st_nlink == 1)


def prune(members: Path, exports: Path) -> list[Kept]:
    """Remove what no export uses, as `survey` found it; waits for a running export."""
    with exclusive(members, lambda: console.print("waiting for an export")):
        found = survey(members, exports)
        for kept in found:
            if not kept.exports:
                shutil.rmtree(members / kept.name)
    return found


def main(
    members: Annotated[Path, typer.Option(help="Where members are kept.")] = MEMBERS,
    exports: Annotated[Path, typer.Option(help="Folder of the exports that count.")] = EXPORTS,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list, remove nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the list as JSON.")] = False,
) -> None:
    """List the kept members and the exports that use them; remove unused ones."""
    if not members.is_dir():
        raise typer.BadParameter(f"--members: expected a folder, got {members}")
    found = survey(members, exports) if dry_run else prune(members, exports)
    if as_json:
        removed = not dry_run
        print(json.dumps([{**asdict(k), "removed": removed and not k.exports} for k in found]))
    else:
        console.print(_table(found, "to be removed" if dry_run else "removed"))


def _table(found: list[Kept], fate: str) -> Table:
    unused = [kept for kept in found if not kept.exports]
    freed = sum(kept.freed_bytes for kept in unused) / 1e6
    table = Table(
        title=f"{len(unused)} of {len(found)} kept members {fate}, {freed:.1f} MB",
        title_justify="left",
    )
    table.add_column("member")
    table.add_column("MB", justify="right")
    table.add_column("exports")
    for kept in found:
        exports = "\n".join(kept.exports) or fate
        table.add_row(kept.name, f"{kept.freed_bytes / 1e6:.1f}", exports)
    return table


if __name__ == "__main__":
    typer.run(main)
