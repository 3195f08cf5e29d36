"""`python -m tests.faults.soak`: memory under half an hour of moderate, mixed load.

Verbs in turn at random times, with wrong input among them, on pictures and labels that repeat:
caches fill up early, so later growth is a leak.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer
from fovea_client import AsyncClient, Client, InvalidInput
from fovea_server import EmbeddedServer
from matplotlib.figure import Figure
from rich.progress import Progress

from benchmarks.machine import resident_mb
from benchmarks.plots import save
from benchmarks.results import write_json
from demo.served import demo_server
from export.machine import machine
from tests.faults.ledger import Ledger
from tests.faults.load import Questions, open_loop, quiet_load

MINUTES = 30.0
# Share of what the server can carry.
LOAD = 0.2
CAPACITY_REQUESTS = 100
LOOK_EVERY_S = 5.0
# Caches, arenas and pools fill up in this share of the time; growth is measured in the rest.
WARM_UP = 0.25
# Largest growth that counts as none, by a straight line through the rest: share of the memory.
GROWTH = 0.03
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Sample:
    """Memory at one time: of the server with all its processes, and of this client, in MB."""

    second: float
    server_mb: float
    client_mb: float


def slope_mb_per_h(samples: list[Sample], of: Callable[[Sample], float]) -> float:
    """The slope of the straight line through the samples, by least squares."""
    seconds = [sample.second for sample in samples]
    return 3600 * float(np.polyfit(seconds, [of(sample) for sample in samples], 1)[0])


def mixed(questions: Questions, client: AsyncClient) -> Callable[[int], Awaitable[bool]]:
    """All verbs in turn, and bad input of three kinds that must be refused."""
    labels = questions.labels

    async def refused(request: Awaitable[object]) -> bool:
        try:
            await request
        except InvalidInput:
            return True
        return False

    async def ask(number: int) -> bool:
        picture, kind = questions.picture(number), number % 10
        if kind < 3:
            return questions.is_right(number, await client.main_object(picture, labels))
        if kind == 7:
            return await refused(client.embed_image(picture[: len(picture) // 2]))
        if kind == 8:
            return await refused(client.detect(picture, "..."))
        if kind == 9:
            return await refused(client.segment(picture, boxes=[(0, 0, 9000, 10)]))
        if kind == 3:
            answer: object = await client.detect(picture, "cat. dog. car")
        elif kind == 4:
            answer = await client.segment(picture, points=[(20 + number % 50, 40)])
        elif kind == 5:
            answer = await client.detect_and_segment(picture, "cat. dog")
        else:
            answer = await client.embed_text(labels[number % len(labels)])
        return answer is not None

    return ask


async def soak(server: EmbeddedServer, rate: float, seconds: float) -> tuple[list[Sample], Ledger]:
    """Run the load, and read the memory every few seconds."""
    ledger, samples, began = Ledger(), list[Sample](), time.perf_counter()
    with Client(server.grpc_url, timeout_s=TIMEOUT_S) as once:
        questions = Questions(once)
    async with AsyncClient(server.grpc_url, timeout_s=TIMEOUT_S) as client:
        ask = mixed(questions, client)
        load = asyncio.create_task(open_loop(ledger, ask, rate=rate, seconds=seconds))
        with Progress(transient=True) as progress:
            bar = progress.add_task("soak", total=seconds)
            while not load.done():
                second = time.perf_counter() - began
                own = psutil.Process().memory_info().rss / 1e6
                samples.append(Sample(second, resident_mb(server.pid), own))
                progress.update(bar, completed=second)
                await asyncio.wait([load], timeout=LOOK_EVERY_S)
        await load
    return samples, ledger


def plot(samples: list[Sample], path: Path, title: str) -> None:
    """Memory over time as a PNG."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    minutes = [sample.second / 60 for sample in samples]
    axes.plot(minutes, [sample.server_mb for sample in samples], label="server, all processes")
    axes.plot(minutes, [sample.client_mb for sample in samples], label="client")
    axes.axvline(WARM_UP * minutes[-1], color="grey", linestyle=":", label="warmed up")
    axes.set(xlabel="minutes", ylabel="MB", title=title, ylim=(0, None))
    axes.legend()
    save(figure, path)


def main(
    minutes: float = MINUTES,
    rate: Annotated[
        float | None, typer.Option(help="Requests a second; default: a fifth of capacity.")
    ] = None,
    out: Annotated[Path, typer.Option("--json")] = Path("build/soak.json"),
) -> None:
    """Run, print and write; exits with 1 if memory grew or a request went wrong."""
    with demo_server() as server, Client(server.grpc_url, timeout_s=TIMEOUT_S) as client:
        rate = rate or LOAD * quiet_load(Questions(client).ask, CAPACITY_REQUESTS).per_s
        samples, ledger = asyncio.run(soak(server, rate, 60 * minutes))
        alive = server.recoveries.reloads + server.recoveries.restarts == 0
    settled = [s for s in samples if s.second > WARM_UP * samples[-1].second]
    slopes = {
        "server": slope_mb_per_h(settled, lambda sample: sample.server_mb),
        "client": slope_mb_per_h(settled, lambda sample: sample.client_mb),
    }
    hours = (settled[-1].second - settled[0].second) / 3600
    growth = slopes["server"] * hours / settled[0].server_mb
    account = ledger.account()
    fine = account.answered == account.sent and not account.wrong and alive and growth < GROWTH
    written = {
        "minutes": minutes,
        "rate_per_s": rate,
        "server_mb": {"first": samples[0].server_mb, "last": samples[-1].server_mb},
        "settled_after_minutes": settled[0].second / 60,
        "slope_mb_per_h": slopes,
        "growth_share": growth,
        "holds": fine,
        "requests": asdict(account),
        "samples": [asdict(sample) for sample in samples],
        "machine": machine(),
    }
    write_json(out, written)
    said = f"{slopes['server']:+.1f} MB/h after the warm-up, {growth:+.2%} in {60 * hours:.0f} min"
    plot(samples, out.with_suffix(".png"), f"memory under mixed load: {said}")
    print(f"{account.answered} of {account.sent} answered, {account.wrong} wrong; server {said}")
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    typer.run(main)
