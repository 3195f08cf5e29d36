"""Figures and rows of them for people: in Markdown, and on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

from rich.table import Table

from benchmarks.figures import Spread

NOTHING = "–"
Row = Mapping[str, object]


def cell(value: object, digits: int = 2) -> str:
    """A figure; NOTHING for None, NaN and an empty record."""
    if value is None or value != value or value in ({}, []):
        return NOTHING
    if isinstance(value, Spread):
        return value.text(digits)
    if isinstance(value, float):
        return f"{value:,.{digits}f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {cell(item, digits)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def of(row: object, *but: str) -> dict[str, object]:
    """The fields of a dataclass as a row."""
    names = (one.name for one in fields(row))  # type: ignore[arg-type]
    return {name: getattr(row, name) for name in names if name not in but}


def markdown(rows: Sequence[Row]) -> str:
    """A column for each key of the first row; those after the first are aligned to the right."""
    rule = ["---"] + ["--:"] * (len(rows[0]) - 1)
    body = [[cell(value).replace("|", "\\|") for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in ([*rows[0]], rule, *body))


def on_terminal(rows: Sequence[Row], title: str, caption: str = "") -> Table:
    """The same for a console; `rows` may be empty."""
    table = Table(title=title, caption=caption)
    for place, name in enumerate(rows[0] if rows else ()):
        table.add_column(name, justify="right" if place else "left")
    for row in rows:
        table.add_row(*map(cell, row.values()))
    return table
