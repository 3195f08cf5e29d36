"""The outcome of one fault, as figures and as kept or broken promises."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

from tests.faults.ledger import Account


@dataclass(frozen=True)
class Report:
    """One fault.

    before: valid load without the fault. during: requests sent while it was there. seconds: of the
    latter. broken: the promises that did not hold; empty if all is well.
    """

    fault: str
    before: Account
    during: Account
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)
    broken: tuple[str, ...] = ()


def judged(
    fault: str,
    before: Account,
    during: Account,
    seconds: float,
    details: dict[str, Any],
    promises: dict[str, bool],
) -> Report:
    """The report of a fault under which nothing may be lost either."""
    return Report(fault, before, during, seconds, details, broken(nothing_lost(during) | promises))


def broken(promises: dict[str, bool]) -> tuple[str, ...]:
    """The promises that do not hold."""
    return tuple(promise for promise, holds in promises.items() if not holds)


def nothing_lost(account: Account) -> dict[str, bool]:
    """The promises that hold under every fault."""
    return {
        f"nothing is lost (lost: {account.losses})": account.lost == 0,
        "nothing is answered twice": account.duplicated == 0,
        f"every answer is right ({account.wrong} are not)": account.wrong == 0,
    }


def table_of(reports: Iterable[Report]) -> Table:
    """The reports for people."""
    columns = ("sent", "answered", "refused", "lost", "twice", "p99 before", "p99 during")
    table = Table("fault", *columns, "holds", title="faults survived")
    for report in reports:
        during = report.during
        numbers = (during.sent, during.answered, during.refused, during.lost, during.duplicated)
        times = (f"{report.before.p99_ms:.0f} ms", f"{during.p99_ms:.0f} ms")
        verdict = "; ".join(report.broken) or "yes"
        table.add_row(report.fault, *map(str, numbers), *times, verdict)
    return table
