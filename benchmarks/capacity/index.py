"""`python -m benchmarks.capacity.index --pictures 1e8 --days 7`: what an index job takes.

Servers and actors, calculated from the rates of `make bench-search` (section jobs). Those depend on
the machine and the models: measure where you will index.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.search.jobs import CALLERS
from benchmarks.tables import on_terminal

MEASURED = Path("build/bench-search.json")
DAY_S = 86_400


@dataclass(frozen=True)
class IndexPlan:
    """rate: pictures a second of all servers. under_way: pictures that keep them busy."""

    pictures: float
    days: float
    rate: float
    rate_per_server: float
    servers: int
    spare: int
    under_way: int
    actors: int


def plan(
    jobs: dict[str, Any], pictures: float, days: float, concurrency: int, spare: int
) -> IndexPlan:
    """The fewest servers that finish in time, and the actors that keep them busy.

    jobs: the record of the section; its job on Ray kept CALLERS pictures under way on one server,
    so each server gets as many.
    """
    rate = pictures / (days * DAY_S)
    each = float(jobs["ray"])
    servers = max(1, math.ceil(rate / each))
    under_way = servers * CALLERS
    actors = math.ceil(under_way / concurrency)
    return IndexPlan(pictures, days, rate, each, servers, spare, under_way, actors)


def main(
    pictures: Annotated[float, typer.Option(min=1, help="As in 1e8.")] = 1e8,
    days: Annotated[float, typer.Option(min=0.01, help="Until all are indexed.")] = 7,
    concurrency: Annotated[int, typer.Option(min=1, help="Pictures of an actor.")] = 16,
    spare: Annotated[int, typer.Option(min=0, help="Servers that may fail.")] = 1,
    measured: Annotated[Path, typer.Option(help="What make bench-search wrote.")] = MEASURED,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Print the plan; exit code 2 if nothing was measured."""
    try:
        jobs = json.loads(measured.read_text())["jobs"][0]
    except (OSError, KeyError, ValueError) as error:
        raise typer.BadParameter(
            f"expected the section jobs of make bench-search in {measured}: {error}"
        ) from error
    answer = plan(jobs, pictures, days, concurrency, spare)
    if as_json:
        print(json.dumps(asdict(answer)))
    else:
        Console().print(on_terminal([asdict(answer)], "an index job"))


if __name__ == "__main__":
    typer.run(main)
