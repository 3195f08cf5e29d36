"""`python -m benchmarks.capacity --rate 500 --p99 300ms`: which machines, how many, what cost.

The answer stands on service times that were measured: those of this repository unless
`--service-times` names others, which are what `python -m benchmarks.capacity.measure` writes on
any machine, or the report of `make bench` or `make bench-gpu`. With times of one GPU, the others
of the catalogue are estimated, and say so.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

from benchmarks.capacity import hardware, quantities
from benchmarks.capacity.bench_report import read_any
from benchmarks.capacity.errors import CapacityError, Infeasible, InvalidQuantity, UnknownHardware
from benchmarks.capacity.plan import Plan, Target, plan
from benchmarks.capacity.service_times import GPU, ServiceTimes

MEASURED = Path(__file__).parent / "measured"
T = TypeVar("T")


def argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """A reader of quantities for argparse, whose errors keep their words."""

    def convert(text: str) -> T:
        try:
            return parse(text)
        except InvalidQuantity as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc

    return convert


def candidates(paths: Iterable[Path], kinds: list[str]) -> Iterator[ServiceTimes]:
    """What was measured, and each GPU of the catalogue that can be estimated from it."""
    measured = [read_any(path) for path in paths]
    on_gpu = [times for times in measured if any(step.place == GPU for step in times.steps)]
    names = {times.kind for times in on_gpu}
    estimated = [
        hardware.scaled(times, gpu)
        for times in on_gpu
        if hardware.knows(times.kind)
        for gpu in hardware.catalogue()
        if names.isdisjoint((gpu.kind, *gpu.driver_names))
    ]
    wanted = {kind.lower() for kind in kinds}
    chosen = [t for t in [*measured, *estimated] if not wanted or t.kind.lower() in wanted]
    if not chosen:
        there = ", ".join(t.kind for t in [*measured, *estimated])
        raise UnknownHardware(
            f"no times of {', '.join(kinds) or 'any machine'}; there are those of: {there}. "
            "Measure with python -m benchmarks.capacity.measure and name the file with "
            "--service-times"
        )
    yield from chosen


def table_of(plans: list[Plan], target: Target) -> Table:
    """The answer for people, cheapest first."""
    title = f"{target.rate:g} requests a second, p99 within {1000 * target.p99_s:g} ms"
    table = Table(
        "kind", "machines", "rate each", "utilisation", "p50 ms", "p99 ms", "$ / hour",
        "$ / million", "scale at waiting", "times", title=title,
    )  # fmt: skip
    for row in plans:
        machines = f"{row.machines}" + (f" ({row.spare} spare)" if row.spare else "")
        table.add_row(
            f"{row.kind}\n{row.models}",
            machines,
            f"{row.rate_per_machine:.1f}/s",
            f"{row.utilisation:.0%}",
            f"{1000 * row.p50_s:.0f}",
            f"{1000 * row.p99_s:.0f}",
            "?" if row.dollars_per_hour is None else f"{row.dollars_per_hour:.2f}",
            "?" if row.dollars_per_million is None else f"{row.dollars_per_million:.2f}",
            f"{1000 * row.scale_at_queue_s:.0f} ms",
            row.origin,
        )
    sources = sorted({f"{row.kind}: {row.price_from}" for row in plans if row.price_from})
    unpriced = [row.kind for row in plans if row.dollars_per_hour is None]
    notes = [*sources, *(f"{kind}: no price, give --price '{kind}=…'" for kind in unpriced)]
    table.caption = "\n".join(notes)
    return table


def answer(args: argparse.Namespace) -> tuple[list[Plan], list[str]]:
    """A plan for each kind, and why there is none for some."""
    target = Target(args.rate, args.p99, args.spare)
    prices = dict(args.price)
    plans, impossible = [], []
    for times in candidates(args.service_times, args.kind):
        if args.delay is not None:
            times = times.with_delay(args.delay)
        cost, source = hardware.price_of(times.kind)
        if times.kind in prices:
            cost, source = prices[times.kind], "your own"
        try:
            plans.append(plan(times, target, dollars_per_machine=cost, price_from=source))
        except Infeasible as exc:
            impossible.append(str(exc))
    if not plans:
        raise Infeasible("\n".join(impossible))
    plans.sort(key=lambda row: (row.dollars_per_hour is None, row.dollars_per_hour or 0))
    return plans, impossible


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.capacity", description=__doc__)
    made.add_argument("--rate", type=argument(quantities.rate), required=True, help="requests/s")
    made.add_argument("--p99", type=argument(quantities.duration_s), required=True, help="300ms")
    made.add_argument("--spare", type=int, default=0, help="machines that may fail")
    made.add_argument("--delay", type=argument(quantities.delay_s), help="batching delay, 5ms")
    made.add_argument(
        "--service-times", type=Path, nargs="+", default=sorted(MEASURED.glob("*.json"))
    )
    made.add_argument("--kind", action="append", default=[], help="only this kind; repeatable")
    made.add_argument(
        "--price",
        type=argument(quantities.price),
        action="append",
        default=[],
        metavar="KIND=DOLLARS",
        help="of one machine and hour; repeatable",
    )
    made.add_argument("--json", action="store_true", help="for programs")
    return made


def main() -> None:
    """Answer; exit code 1 when there is no answer, 2 when the question is wrong."""
    args = parser().parse_args()
    if args.spare < 0:
        parser().error(f"expected a number of spare machines from 0, got {args.spare}")
    errors = Console(stderr=True)
    try:
        plans, impossible = answer(args)
    except CapacityError as exc:
        errors.print(str(exc), style="red", markup=False)
        sys.exit(1)
    for line in impossible:
        errors.print(line, style="yellow", markup=False)
    if args.json:
        print(json.dumps({"plans": [asdict(row) for row in plans], "impossible": impossible}))
    else:
        Console().print(table_of(plans, Target(args.rate, args.p99, args.spare)))


if __name__ == "__main__":
    main()
