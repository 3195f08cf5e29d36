"""`python -m benchmarks.web`: what the REST gateway costs over the client, and how fast a click is.

Triton serves the demo; the gateway runs before it in its own process, as in production. Both sides
are asked main_object for the same held-out pictures, in turns that change which is first: by one
caller for the overhead, by 16 in closed loops for the throughput. In the page, in the
distribution's Chromium without a window, a click on an object counts from the pointer's event to
the frame that shows its mask; the first prompt on the picture, which encodes it, is not counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer
from fovea_client import Client
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.clicks import click_to_mask_s
from benchmarks.figures import Spread, percentiles
from benchmarks.loads import answered, closed_loop
from benchmarks.options import Json
from benchmarks.questions import Question, questions
from benchmarks.results import write_json
from benchmarks.tables import on_terminal
from demo.served import demo_server
from export.machine import machine

CALLERS = 16
FIRST_SEED = 7_000_000
# The gateway must not refuse any request of the benchmark.
RATE = "10000000/minute"
# What was aimed at.
MOST_OVERHEAD_MS, LEAST_RATIO, MOST_CLICK_MS = 5.0, 0.95, 100.0

Ask = Callable[[Question], object]


@dataclass(frozen=True)
class Scale:
    """pairs: requests of either side by one caller. rounds: of the loops, `seconds` a side."""

    pictures: int
    pairs: int
    rounds: int
    seconds: float
    clicks: int


FULL = Scale(pictures=100, pairs=300, rounds=5, seconds=10.0, clicks=100)
QUICK = Scale(pictures=20, pairs=40, rounds=2, seconds=3.0, clicks=20)


@dataclass(frozen=True)
class Result:
    """overhead_ms_p50: p50 through the gateway less the client's, of one caller.

    throughput_ratio: median over rounds of gateway / client at 16 callers. click_to_mask_ms_p50,
    p95: None where there is no Chromium, or no page. alone: p50, p95 and p99 of either side.
    """

    overhead_ms_p50: float
    throughput_ratio: float
    click_to_mask_ms_p50: float | None
    click_to_mask_ms_p95: float | None
    alone: dict[str, dict[str, float]]
    throughput: dict[str, Spread]
    throughput_ratios: Spread
    callers: int = CALLERS
    machine: dict[str, Any] = field(default_factory=machine)


@contextmanager
def gateway(url: str) -> Iterator[str]:
    """The address of `fovea web` before a server, in a process of its own."""
    fovea = Path(sys.executable).with_name("fovea")
    command = [str(fovea), "web", "--port", "0", "--json", "--url", url, "--rate", RATE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


def over_http(caller: httpx2.Client) -> Ask:
    """Asks the gateway as a program would: a file, and the labels as fields."""

    def ask(question: Question) -> object:
        answer = caller.post(
            "/v1/main-object",
            files={"image": ("photo.jpg", question.jpeg, "image/jpeg")},
            data={"labels": question.labels},
        )
        answer.raise_for_status()
        return answer.json()

    return ask


def in_turns(
    sides: dict[str, Ask], asked: Sequence[Question], pairs: int
) -> dict[str, list[float]]:
    """Seconds of each request by one caller; both sides get the same pictures, one after other."""
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(pairs):
        question = asked[number % len(asked)]
        order = list(sides) if number % 2 else list(reversed(sides))
        for side in order:
            begun = time.perf_counter()
            sides[side](question)
            seconds[side].append(time.perf_counter() - begun)
    return seconds


def throughputs(
    sides: dict[str, Ask], asked: Sequence[Question], scale: Scale, progress: Progress
) -> dict[str, list[float]]:
    """Answers a second at CALLERS callers, a figure for each round and side."""
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for number in progress.track(range(scale.rounds), description=f"{CALLERS} callers"):
        for side in list(sides) if number % 2 else list(reversed(sides)):
            ask = sides[side]
            loop = closed_loop(
                lambda n, ask=ask: ask(asked[n % len(asked)]),  # type: ignore[misc]
                CALLERS,
                seconds=scale.seconds,
            )
            rates[side].append(answered(loop).throughput)
    return rates


def run(url: str, address: str, scale: Scale) -> Result:
    """All measurements of one served demo and its gateway."""
    asked = questions(range(FIRST_SEED, FIRST_SEED + scale.pictures))
    limits = httpx2.Limits(max_connections=CALLERS, max_keepalive_connections=CALLERS)
    with (
        Client(url) as client,
        httpx2.Client(base_url=address, limits=limits, timeout=60) as caller,
        Progress(console=Console(stderr=True)) as progress,
    ):
        sides: dict[str, Ask] = {
            "client": lambda question: client.main_object(question.jpeg, question.labels),
            "gateway": over_http(caller),
        }
        in_turns(sides, asked, scale.pictures)  # warm: each label is embedded once
        alone = in_turns(sides, asked, scale.pairs)
        rates = throughputs(sides, asked, scale, progress)
    clicks = click_to_mask_s(address, scale.clicks)
    return summary(alone, rates, clicks)


def summary(
    alone: dict[str, list[float]], rates: dict[str, list[float]], clicks: list[float]
) -> Result:
    """The figures of seconds, rates a round, and seconds of clicks, which may be none."""
    figures = {side: percentiles(seconds) for side, seconds in alone.items()}
    ratios = [g / c for g, c in zip(rates["gateway"], rates["client"], strict=True)]
    clicked = percentiles(clicks) if clicks else {"p50_ms": None, "p95_ms": None}
    return Result(
        overhead_ms_p50=figures["gateway"]["p50_ms"] - figures["client"]["p50_ms"],
        throughput_ratio=Spread.of(ratios).median,
        click_to_mask_ms_p50=clicked["p50_ms"],
        click_to_mask_ms_p95=clicked["p95_ms"],
        alone=figures,
        throughput={side: Spread.of(values) for side, values in rates.items()},
        throughput_ratios=Spread.of(ratios),
    )


def table_of(result: Result) -> Table:
    """The figures for people, with what was aimed at."""
    rows = [
        ("overhead, p50", result.overhead_ms_p50, f"<= {MOST_OVERHEAD_MS:g} ms"),
        ("client alone, p50", result.alone["client"]["p50_ms"], ""),
        ("gateway alone, p50", result.alone["gateway"]["p50_ms"], ""),
        (f"throughput ratio, {CALLERS} callers", result.throughput_ratios, f">= {LEAST_RATIO:g}"),
        ("client, answers a second", result.throughput["client"], ""),
        ("gateway, answers a second", result.throughput["gateway"], ""),
        ("click to mask, p50", result.click_to_mask_ms_p50, f"< {MOST_CLICK_MS:g} ms"),
        ("click to mask, p95", result.click_to_mask_ms_p95, ""),
    ]
    cells = [{"figure": name, "value": value, "aim": aim} for name, value, aim in rows]
    return on_terminal(cells, "the gateway before the demo")


def main(
    quick: Annotated[bool, typer.Option("--quick", help="A tenth of the requests.")] = False,
    out: Json = Path("build/bench-web.json"),
) -> None:
    """Measure, print and write."""
    with demo_server() as server, gateway(server.grpc_url) as address:
        result = run(server.grpc_url, address, QUICK if quick else FULL)
    Console().print(table_of(result))
    write_json(out, asdict(result))


if __name__ == "__main__":
    typer.run(main)
