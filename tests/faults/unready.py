"""A dead backend process that nobody replaces: Triton reports ready, the probe does not."""

from __future__ import annotations

import time
import urllib.request

from fovea_client import Client, RetryPolicy
from fovea_server import EmbeddedServer
from fovea_server.probe import Probe, ProbeFailure

from demo.served import demo_server
from tests.faults.killed import kill_stub
from tests.faults.load import Questions, quiet_load
from tests.faults.report import Report, broken

VICTIM = "sam_select_masks"
REQUESTS = 20
TIMEOUT_S = 120.0
LEVELS = ("live", "ready")


def run(*, requests: int = REQUESTS) -> Report:
    """The results of Kubernetes' probes on a server whose launcher does not watch."""
    once = RetryPolicy(attempts=1)
    with (
        demo_server(exit_timeout_s=2, restart_dead_backends=False) as server,
        Client(server.grpc_url, timeout_s=TIMEOUT_S, retry=once) as client,
    ):
        ask = Questions(client).ask
        before, healthy = quiet_load(ask, requests, callers=1), _probe(server)
        kill_stub(server, VICTIM)
        began = time.perf_counter()
        sick = _probe(server)
        account = quiet_load(ask, requests, callers=1)
        with urllib.request.urlopen(f"http://{server.http_url}/v2/health/ready") as answer:
            triton_says = answer.status
    return Report(
        "a dead process that nobody replaces",
        before,
        account,
        time.perf_counter() - began,
        {"triton_readiness": triton_says, "probe_before": healthy, "probe_during": sick},
        broken(
            {
                "the probe passes before": set(healthy.values()) == {"passes"},
                "Triton still says that it is ready": triton_says == 200,
                "both levels of the probe fail": "passes" not in sick.values(),
                "the server does fail its requests": account.lost == requests,
            }
        ),
    )


def _probe(server: EmbeddedServer) -> dict[str, str]:
    """Level -> "passes", or what is wrong."""
    probe = Probe(http_port=server.ports.http, grpc_port=server.ports.grpc, timeout_s=TIMEOUT_S)
    said = dict.fromkeys(LEVELS, "passes")
    for level in LEVELS:
        try:
            probe.check(level)
        except ProbeFailure as failure:
            said[level] = str(failure)
    return said
