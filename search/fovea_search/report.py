"""Prints the commands' summaries, failures, versions and results."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fovea_client import console
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fovea_search.finds import Finds
from fovea_search.job import Summary
from fovea_search.store import Store

# This much of a picture's hash tells finds apart.
ID_DIGITS = 12
SHOWN_ERRORS = 10


def to_record(summary: Summary) -> dict[str, Any]:
    """Ready for JSON."""
    record = asdict(summary) | {"pictures_per_s": round(summary.pictures_per_s, 3)}
    record["seconds"] = round(summary.seconds, 3)
    record["errors"] = [{"path": path, "error": error} for path, error in summary.errors]
    return record


def print_summary(store: str, summary: Summary) -> None:
    """Print one line for the job, and the first failures on stderr."""
    for path, error in summary.errors[:SHOWN_ERRORS]:
        console.print_error(error, path)
    if len(summary.errors) > SHOWN_ERRORS:
        console.print_error(
            f"and {len(summary.errors) - SHOWN_ERRORS} more: fovea index --failed --store {store}"
        )
    counts = {
        name: count
        for name, count in asdict(summary).items()
        if isinstance(count, int) and count and name not in ("indexed", "objects")
    }
    rest = "".join(f", {count} {name}" for name, count in counts.items())
    _print(
        f"{store}: {summary.indexed} pictures with {summary.objects} objects{rest} "
        f"in {summary.seconds:.1f} s, {summary.pictures_per_s:.1f} pictures/s"
    )


def print_failed(store: Store, *, as_json: bool) -> None:
    """Print the pictures that failed, and why."""
    for known in store.known():
        if known.error and as_json:
            console.print_json({"path": known.path, "error": known.error})
        elif known.error:
            _print(f"{console.printable(known.path)}: {console.printable(known.error)}")


def print_versions(store: Store, *, as_json: bool) -> None:
    """Print the versions that can be restored."""
    for version in store.versions():
        time = version.time.isoformat(timespec="seconds")
        if as_json:
            console.print_json({"version": version.number, "time": time, "rows": version.rows})
        else:
            _print(f"{version.number:>6}  {time}  {version.rows} rows")


def print_finds(finds: Finds) -> None:
    """Print a table, best first."""
    if not len(finds):
        _print("nothing found")
        return
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("score", "picture", "box xyxy", "area", "id"):
        table.add_column(name, no_wrap=name != "picture", overflow="fold")
    for find in finds:
        content, _, number = find.id.partition(":")
        corners = "–" if find.box is None else " ".join(f"{edge:.0f}" for edge in find.box.tolist())
        area = "–" if find.area is None else f"{find.area:.3f}"
        short = f"{content[:ID_DIGITS]}:{number}" if number else content[:ID_DIGITS]
        name = str(Path(find.folder, Path(find.path).name))
        cells = (f"{find.score:.3f}", name, corners, area, short)
        table.add_row(*(Text(console.printable(cell)) for cell in cells))
    Console().print(table)
    if finds.folded:
        _print(f"{finds.folded} near-duplicates are left out: --same 1 shows them")


def _print(line: str) -> None:
    print(line)
