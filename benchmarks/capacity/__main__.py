"""`python -m benchmarks.capacity --rate 500 --p99 300ms`: which machines, how many, what cost.

The answer is based on measured service times: those of this repository, or those that
`--service-times` names. `python -m benchmarks.capacity.measure` writes them on any machine. From
the times of one GPU, those of the catalogue's other GPUs are estimated, and the answer says so.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.capacity import hardware
from benchmarks.capacity.errors import CapacityError, Infeasible, UnknownHardware
from benchmarks.capacity.plan import Goal, Plan, plan
from benchmarks.capacity.service_times import GPU, ServiceTimes, read
from benchmarks.tables import on_terminal

MEASURED = Path(__file__).parent / "measured"
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+) *(us|ms|s|min)")


def duration_s(text: str) -> float:
    """Seconds of a text such as `300ms`, `1.5s`, `2 min`; raises BadParameter for anything else."""
    match = _DURATION.fullmatch(text.strip().lower())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not seconds:
        raise typer.BadParameter(
            f"expected a time above 0 with its unit, such as 300ms (us, ms, s, min), got {text!r}"
        )
    return seconds


def rate(text: str) -> float:
    """Requests per second, above 0: `500` or `500/s`. Raises BadParameter for anything else."""
    return _positive(text.strip().removesuffix("/s"), "a rate of requests per second")


@dataclass(frozen=True)
class Price:
    """Dollars for one machine and hour."""

    kind: str
    dollars: float


def price(text: str) -> Price:
    """`KIND=DOLLARS` per machine and hour. Raises BadParameter for anything else."""
    kind, equals, dollars = (part.strip() for part in text.partition("="))
    if not equals or not kind:
        raise typer.BadParameter(f"expected KIND=DOLLARS an hour, got {text!r}")
    return Price(kind, _positive(dollars, f"the price of {kind}"))


def _positive(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise typer.BadParameter(f"expected {what} above 0, got {text!r}")
    return value


def candidates(paths: Iterable[Path], kinds: Sequence[str]) -> list[ServiceTimes]:
    """What was measured, and each GPU of the catalogue that can be estimated from it."""
    measured = [read(path) for path in paths]
    on_gpu = [times for times in measured if any(step.place == GPU for step in times.steps)]
    names = {times.kind for times in on_gpu}
    known = measured + [
        hardware.scaled(times, gpu)
        for times in on_gpu
        if hardware.find(times.kind)
        for gpu in hardware.catalogue()
        if names.isdisjoint((gpu.kind, *gpu.driver_names))
    ]
    wanted = {kind.lower() for kind in kinds}
    chosen = [times for times in known if not wanted or times.kind.lower() in wanted]
    if not chosen:
        raise UnknownHardware(
            f"no times of {', '.join(kinds) or 'any machine'}; there are those of: "
            f"{', '.join(times.kind for times in known)}. Measure with "
            "python -m benchmarks.capacity.measure and name the file with --service-times"
        )
    return chosen


def answer(
    found: Iterable[ServiceTimes], goal: Goal, prices: Iterable[Price]
) -> tuple[list[Plan], list[str]]:
    """A plan for each kind, cheapest first, and the reasons where a kind has none.

    Raises Infeasible if no kind has a plan.
    """
    own = {price.kind: price.dollars for price in prices}
    plans, impossible = [], []
    for times in found:
        cost, source = hardware.price_of(times.kind)
        if times.kind in own:
            cost, source = own[times.kind], "your own"
        try:
            plans.append(plan(times, goal, dollars_per_machine=cost, price_from=source))
        except Infeasible as exc:
            impossible.append(str(exc))
    if not plans:
        raise Infeasible("\n".join(impossible))
    plans.sort(key=lambda row: (row.dollars_per_hour is None, row.dollars_per_hour or 0))
    return plans, impossible


def table_of(plans: list[Plan], goal: Goal) -> Table:
    """The answer for people."""
    rows = [
        {
            "kind": f"{row.kind}\n{row.models}",
            "machines": f"{row.machines}" + (f" ({row.spare} spare)" if row.spare else ""),
            "rate each": f"{row.rate_per_machine:.1f}/s",
            "utilisation": f"{row.utilisation:.0%}",
            "p50 ms": f"{1000 * row.p50_s:.0f}",
            "p99 ms": f"{1000 * row.p99_s:.0f}",
            "$ / hour": row.dollars_per_hour,
            "$ / million": row.dollars_per_million,
            "scale at waiting": f"{1000 * row.scale_at_queue_s:.0f} ms",
            "times": row.origin,
        }
        for row in plans
    ]
    unpriced = "no price, give --price KIND=DOLLARS"
    notes = sorted({f"{row.kind}: {row.price_from or unpriced}" for row in plans})
    title = f"{goal.rate:g} requests a second, p99 within {1000 * goal.p99_s:g} ms"
    return on_terminal(rows, title, "\n".join(notes))


def main(
    rate: Annotated[float, typer.Option(parser=rate, help="Requests a second.")],
    p99: Annotated[float, typer.Option(parser=duration_s, help="As in 300ms.")],
    spare: Annotated[int, typer.Option(min=0, help="Machines that may fail.")] = 0,
    service_times: Annotated[list[Path] | None, typer.Option(help="Measured; repeat.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only this one; repeat.")] = None,
    price: Annotated[
        list[Price] | None,
        typer.Option(parser=price, metavar="KIND=DOLLARS", help="Of a machine and hour; repeat."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Print the plans; exit code 1 if there is none, 2 for invalid arguments."""
    errors, goal = Console(stderr=True), Goal(rate, p99, spare)
    try:
        found = candidates(service_times or sorted(MEASURED.glob("*.json")), kind or [])
        plans, impossible = answer(found, goal, price or [])
    except CapacityError as exc:
        errors.print(str(exc), style="red", markup=False)
        sys.exit(1)
    for line in impossible:
        errors.print(line, style="yellow", markup=False)
    if as_json:
        print(json.dumps({"plans": [asdict(row) for row in plans], "impossible": impossible}))
    else:
        Console().print(table_of(plans, goal))


if __name__ == "__main__":
    typer.run(main)
