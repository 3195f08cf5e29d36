"""The probe sees what Triton's own readiness does not."""

import urllib.request

import pytest
from fovea_client.statistics import difference, read_statistics
from fovea_server.probe import Probe, ProbeFailure, main

from demo.served import demo_server
from tests.faults.killed import kill_stub

pytestmark = pytest.mark.server

COMPOSED = {"detect_and_segment", "embed_image"}


def probe(server, **more):
    return Probe(http_port=server.ports.http, grpc_port=server.ports.grpc, timeout_s=60, **more)


def test_one_probe_runs_every_network_and_every_step(server, url):
    before = read_statistics(url)
    ports = ["--http-port", str(server.ports.http), "--grpc-port", str(server.ports.grpc)]
    assert main([*ports, "--timeout-s", "60"]) == 0
    ran = {n for n, s in difference(read_statistics(url), before).items() if s.inferences}
    assert ran == set(before) - COMPOSED


def test_a_dead_process_fails_both_levels_while_triton_says_that_it_is_ready():
    with demo_server(exit_timeout_s=2, restart_dead_backends=False) as server:
        for level in ("live", "ready"):
            probe(server).check(level)
        kill_stub(server, "select_masks")
        ready = urllib.request.urlopen(f"http://{server.http_url}/v2/health/ready")
        assert ready.status == 200
        for level in ("live", "ready"):
            with pytest.raises(ProbeFailure, match="1 backend processes are dead"):
                probe(server).check(level)
        with pytest.raises(ProbeFailure, match=r"select_masks.* is not healthy"):
            probe(server, look_at_processes=False).check("ready")
