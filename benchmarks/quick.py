"""`python -m benchmarks.quick`: main_object through Triton against plain transformers.

Both sides get the same JPEG pictures and candidate labels, in turns, each picture once (so no
answer comes from a cache). The reference is called picture by picture, with all cores; the
server by 8 callers at once. The overhead is measured at concurrency 1.
"""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import typer
from fovea_client import Client
from fovea_client.statistics import difference, read_statistics
from fovea_server import EmbeddedServer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.breakdown import NETWORKS, overhead_share
from benchmarks.figures import Spread
from benchmarks.machine import resident_mb
from benchmarks.options import Json
from benchmarks.pipelines import plain_side, rate, served_side
from benchmarks.questions import Question, questions
from benchmarks.results import write_json
from benchmarks.tables import on_terminal
from demo.reference import ReferencePipeline
from demo.served import demo_server
from export.machine import machine

CALLERS = 8
WARM_UP = 16
# Seeds of scenes that nothing else of the project uses.
WARM_UP_SEED, ROUND_SEED, ALONE_SEED = 900_000, 910_000, 990_000


@dataclass(frozen=True)
class Result:
    """Pictures per second of both sides, and the share of the server's overhead.

    ratio: median over rounds of served / reference. latency_ms, network_ms: of one request at
    concurrency 1. overhead_share: what of it is not the networks' compute on its critical path.
    server_rss_mb: resident memory after the load.
    """

    pictures_per_s: dict[str, float]
    pictures_per_s_rounds: dict[str, list[float]]
    ratio: float
    ratio_rounds: list[float]
    latency_ms: float
    network_ms: dict[str, float]
    overhead_share: float
    batch_sizes: dict[str, float]
    server_rss_mb: float
    pictures_per_round: int
    machine: dict[str, Any] = field(default_factory=machine)


def run(server: EmbeddedServer, client: Client, count: int, rounds: int) -> Result:
    """All rounds, both sides in turns, then the overhead."""
    served, alone_served = (served_side(client, n, decode=False) for n in (CALLERS, 1))
    sides = {"reference": plain_side(ReferencePipeline()), "served": served}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        rate(side, _asked(WARM_UP_SEED, WARM_UP))
    before = read_statistics(client.url)
    with Progress(console=Console(stderr=True)) as progress:
        for index in progress.track(range(rounds), description="rounds"):
            for name, side in sides.items():
                rates[name].append(rate(side, _asked(ROUND_SEED + index * count, count)))
    middle = read_statistics(client.url)
    latency_s = 1 / rate(alone_served, _asked(ALONE_SEED, count))
    loaded, alone = difference(middle, before), difference(read_statistics(client.url), middle)
    ratios = [s / r for s, r in zip(rates["served"], rates["reference"], strict=True)]
    return Result(
        pictures_per_s={side: statistics.median(values) for side, values in rates.items()},
        pictures_per_s_rounds=rates,
        ratio=statistics.median(ratios),
        ratio_rounds=ratios,
        latency_ms=1000 * latency_s,
        network_ms={name: 1000 * alone[name].compute_s / count for name in NETWORKS},
        overhead_share=overhead_share(alone, count, latency_s),
        batch_sizes={name: loaded[name].mean_batch for name in NETWORKS},
        server_rss_mb=resident_mb(server.pid),
        pictures_per_round=count,
    )


def _asked(first: int, count: int) -> list[Question]:
    return questions(range(first, first + count))


def table_of(result: Result) -> Table:
    """The figures for people."""
    rates, ratio = result.pictures_per_s, Spread.of(result.ratio_rounds)
    figures = {
        **{f"{side}: pictures per second": f"{rate:.1f}" for side, rate in rates.items()},
        "ratio": ratio,
        "latency at concurrency 1": f"{result.latency_ms:.1f} ms",
        **{f"  {name}": f"{value:.2f} ms" for name, value in result.network_ms.items()},
        "overhead share": f"{result.overhead_share:.1%}",
        **{f"mean batch of {name}": value for name, value in result.batch_sizes.items()},
        "server's resident memory": f"{result.server_rss_mb:.0f} MB",
    }
    rows = [{"figure": name, "value": value} for name, value in figures.items()]
    return on_terminal(rows, "main_object, demo checkpoints")


def main(pictures: int = 80, rounds: int = 3, out: Json = Path("build/bench-quick.json")) -> None:
    """Measure, print and write."""
    torch.set_num_threads(os.cpu_count() or 1)
    with demo_server() as server, Client(server.grpc_url) as client:
        result = run(server, client, pictures, rounds)
    Console().print(table_of(result))
    write_json(out, result)


if __name__ == "__main__":
    typer.run(main)
