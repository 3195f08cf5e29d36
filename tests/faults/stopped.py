"""SIGTERM under load: accepted requests are answered, later ones are refused."""

from __future__ import annotations

import re
import signal
import time
from concurrent.futures import wait

from fovea_client import Client, RetryPolicy

from demo.served import export_demo
from tests.faults.ledger import Ledger
from tests.faults.load import Questions, closed_loop, quiet_load
from tests.faults.report import Report, judged
from tests.server.test_launcher import launcher

CALLERS = 8
SECONDS = 10.0
TIMEOUT_S = 120.0
ONCE = RetryPolicy(attempts=1)
# Messages that tell a client that nobody has accepted its request.
NOT_TAKEN = re.compile(
    "no available versions|connect|not ready|not at ready state|is stopping|unknown model",
    re.IGNORECASE,
)
BEGUN = "in ensemble"


class _Strict(Ledger):
    """Counts as refused only what was not accepted; an ensemble's error means that it began."""

    def fail(self, number: int, error: Exception) -> None:
        if NOT_TAKEN.search(str(error)) and BEGUN not in str(error):
            self.refuse(number, type(error).__name__)
        else:
            self.lose(number, f"{type(error).__name__}: {error}")


def run(*, seconds: float = SECONDS, requests: int = 100) -> Report:
    """Load for some seconds, then SIGTERM to the launcher; each caller goes on until refused."""
    with launcher(export_demo(), "--exit-timeout-s=60") as (process, where):
        with Client(where["grpc"], timeout_s=TIMEOUT_S, retry=ONCE) as client:
            questions, ledger = Questions(client), _Strict()
            before = quiet_load(questions.ask, requests, callers=CALLERS)
            with closed_loop(ledger, questions.ask, callers=CALLERS, until_refused=True) as callers:
                time.sleep(seconds)
                began = time.perf_counter()
                process.send_signal(signal.SIGTERM)
                wait(callers)
            drained_s = time.perf_counter() - began
        code = process.wait(90)
    account = ledger.account()
    return judged(
        "SIGTERM under load",
        before,
        account,
        seconds + drained_s,
        {"exit_code": code, "drained_after_s": round(drained_s, 2)},
        {
            "the launcher ends with 0": code == 0,
            "each caller's last request is refused": account.refused == CALLERS,
        },
    )
