"""`python -m benchmarks.quick`: main_object through Triton against plain transformers.

Both sides get the same JPEG pictures and candidate labels, in turns, each picture once (so no
answer comes from a cache). The reference is called picture by picture, with all cores; the
server by 8 callers at once. The overhead is measured at concurrency 1.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from fovea_client import Client
from fovea_client.statistics import difference, read_statistics
from fovea_server import EmbeddedServer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.breakdown import NETWORKS, overhead_share
from benchmarks.machine import machine, resident_mb
from benchmarks.questions import Question, questions
from demo.reference import ReferencePipeline
from demo.served import demo_server

CONCURRENCY = 8
WARM_UP = 16


@dataclass(frozen=True)
class Result:
    """Pictures per second of both sides, over rounds, and the share of the server's overhead.

    ratio: median over rounds of served / reference. overhead_share: of the time of one request
    at concurrency 1, what is not the networks' compute on its critical path. server_rss_mb:
    resident memory after the load.
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


def rate(call: Callable[[Question], object], asked: list[Question], concurrency: int) -> float:
    """Pictures per second of `call` over all questions."""
    start = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        for _ in pool.map(call, asked):
            pass
    return len(asked) / (time.perf_counter() - start)


def run(server: EmbeddedServer, client: Client, count: int, rounds: int) -> Result:
    """All rounds, both sides in turns, then the overhead."""
    reference = ReferencePipeline()

    def ask_reference(question: Question) -> object:
        return reference.main_object(question.image, question.labels)

    def ask_server(question: Question) -> object:
        return client.main_object(question.jpeg, question.labels)

    rate(ask_server, questions(range(900_000, 900_000 + WARM_UP)), CONCURRENCY)
    rate(ask_reference, questions(range(900_000, 900_000 + WARM_UP // 2)), 1)
    rates: dict[str, list[float]] = {"reference": [], "served": []}
    before = read_statistics(client.url)
    with Progress(console=Console(stderr=True)) as progress:
        for index in progress.track(range(rounds), description="rounds"):
            first = 910_000 + index * count
            asked = questions(range(first, first + count))
            rates["reference"].append(rate(ask_reference, asked, 1))
            rates["served"].append(rate(ask_server, asked, CONCURRENCY))
    loaded = difference(read_statistics(client.url), before)
    before = read_statistics(client.url)
    alone = questions(range(990_000, 990_000 + count))
    latency_s = 1 / rate(ask_server, alone, 1)
    spent = difference(read_statistics(client.url), before)
    ratios = [s / r for s, r in zip(rates["served"], rates["reference"], strict=True)]
    return Result(
        pictures_per_s={side: statistics.median(values) for side, values in rates.items()},
        pictures_per_s_rounds=rates,
        ratio=statistics.median(ratios),
        ratio_rounds=ratios,
        latency_ms=1000 * latency_s,
        network_ms={name: 1000 * spent[name].compute_s / count for name in NETWORKS},
        overhead_share=overhead_share(spent, count, latency_s),
        batch_sizes={name: loaded[name].mean_batch for name in NETWORKS},
        server_rss_mb=resident_mb(server.pid),
        pictures_per_round=count,
    )


def table_of(result: Result) -> Table:
    """The figures for people."""
    table = Table("figure", "value", title="main_object, demo checkpoints")
    for side, value in result.pictures_per_s.items():
        table.add_row(f"{side}: pictures per second", f"{value:.1f}")
    spread = f"{min(result.ratio_rounds):.2f} to {max(result.ratio_rounds):.2f}"
    table.add_row("ratio", f"{result.ratio:.2f} ({spread})")
    table.add_row("latency at concurrency 1", f"{result.latency_ms:.1f} ms")
    for name, value in result.network_ms.items():
        table.add_row(f"  {name}", f"{value:.2f} ms")
    table.add_row("overhead share", f"{result.overhead_share:.1%}")
    for name, value in result.batch_sizes.items():
        table.add_row(f"mean batch of {name}", f"{value:.2f}")
    table.add_row("server's resident memory", f"{result.server_rss_mb:.0f} MB")
    return table


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("build/bench-quick.json"))
    args = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    with demo_server() as server, Client(server.grpc_url) as client:
        result = run(server, client, args.pictures, args.rounds)
    Console().print(table_of(result))
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(asdict(result), indent=1) + "\n")


if __name__ == "__main__":
    main()
