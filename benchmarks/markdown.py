"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NOTHING = "–"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table whose columns after the first are aligned to the right."""
    rule = ["---"] + ["--:"] * (len(columns) - 1)
    lines = [columns, rule, *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float | None, digits: int = 1) -> str:
    """With so many digits; NOTHING for None and NaN."""
    return NOTHING if value is None or value != value else f"{value:,.{digits}f}"


def kilobytes(count: int) -> str:
    """Bytes as kB."""
    return f"{count / 1000:,.1f}"


def _cell(value: object) -> str:
    return NOTHING if value is None else str(value).replace("|", "\\|")
