"""Requests that cost more than their bytes: very thin pictures, many masks on large ones."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator

import numpy as np
from fovea_client import Client
from fovea_server import EmbeddedServer
from PIL import Image

from fovea.limits import Limits
from tests.faults.ledger import Ledger
from tests.faults.load import CALLERS, Questions, closed_loop, quiet_load
from tests.faults.report import Report, judged, nothing_lost

REQUESTS = 1000
HEAVY_CALLERS = 2
TIMEOUT_S = 120.0
THIN_WH = ((40_000, 1), (1, 40_000), (600, 1), (1, 3000))
LARGE_HW = (6000, 6000)
# Ordinary callers wait at most this many times as long as without the heavy ones.
P99_TIMES = 30.0

Heavy = Callable[[Client], bool]


def _png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), (90, 120, 30)).save(out, "PNG")
    return out.getvalue()


def _thin(picture: bytes) -> Iterator[Heavy]:
    """Each verb on a thin picture, and whether its answer has the right form."""
    yield lambda client: bool(np.isfinite(client.embed_image(picture)).all())
    yield lambda client: len(client.segment(picture, points=[(0.5, 0.5)]).masks) == 1
    yield lambda client: client.main_object(picture, ["car", "dog"]).label in ("car", "dog")


def _flood(picture: bytes) -> Heavy:
    """As many boxes as one request may have, each covering much of the picture."""
    height, width = LARGE_HW
    boxes = [[0, 0, width - 1 - i, height - 1] for i in range(Limits().masks_of(LARGE_HW))]
    return lambda client: len(client.segment(picture, boxes=boxes).masks) == len(boxes)


def heavy_requests() -> list[Heavy]:
    """One of each kind."""
    thin = [request for size in THIN_WH for request in _thin(_png(*size))]
    return [*thin, _flood(_png(*LARGE_HW[::-1]))]


def run(server: EmbeddedServer, *, requests: int = REQUESTS, judge_speed: bool = True) -> Report:
    """Ordinary callers alone, then beside the heavy ones.

    judge_speed: whether times are among the promises; beside other work they are chance.
    """
    with Client(server.grpc_url, timeout_s=TIMEOUT_S) as client:
        ask, kinds = Questions(client).ask, heavy_requests()

        def ask_heavy(number: int) -> bool:
            return kinds[number % len(kinds)](client)

        before = quiet_load(ask, max(CALLERS, requests // 4))
        pid, heavy, began = server.pid, Ledger(), time.perf_counter()
        with closed_loop(heavy, ask_heavy, callers=HEAVY_CALLERS, at_least=len(kinds)):
            account = quiet_load(ask, requests)
        taken_s = time.perf_counter() - began
    beside = heavy.account()
    speed = {
        f"the p99 of ordinary callers stays within {P99_TIMES:g} times what it was": account.p99_ms
        <= P99_TIMES * before.p99_ms
    }
    return judged(
        "thin pictures and as many masks as a request may have, beside ordinary callers",
        before,
        account,
        taken_s,
        {"heavy_sent": beside.sent, "heavy_p99_ms": round(beside.p99_ms)},
        {f"heavy: {promise}": holds for promise, holds in nothing_lost(beside).items()}
        | {
            "every heavy request is answered": beside.answered == beside.sent > 0,
            "tritonserver lives": server.pid == pid and not server.recoveries.restarts,
        }
        | (speed if judge_speed else {}),
    )
