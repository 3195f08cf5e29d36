"""The probe on the demo: it sees what Triton's readiness does not, and costs users nothing."""

import re
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
from fovea_client import Client, RetryPolicy
from fovea_client.statistics import difference, read_statistics
from fovea_server.probe import Probe, ProbeFailure, main
from fovea_server.stubs import stubs_of

from benchmarks.breakdown import NETWORKS
from demo.served import demo_server, export_demo
from tests.faults.killed import kill_stub

pytestmark = pytest.mark.server

COMPOSED = {"detect_and_segment", "embed_image"}


@pytest.fixture
def probe(tmp_path):
    """A probe of a server that calls everything every time by default."""

    def make(server, **more):
        ports = {"http_port": server.ports.http, "grpc_port": server.ports.grpc}
        return Probe(folder=tmp_path / "probe", **{"timeout_s": 60, "proof_s": 0, **ports, **more})

    return make


def ran_since(url, before):
    """Models that have run since the statistics `before`, with their executions."""
    spent = difference(read_statistics(url), before)
    return {name: counters.executions for name, counters in spent.items() if counters.inferences}


def cache_counts(server):
    """Hits and misses of SAM's embeddings."""
    text = urllib.request.urlopen(server.metrics_url).read().decode()
    found = (
        re.findall(rf"^fovea_embedding_cache_{kind}_total\S* (\S+)$", text, re.MULTILINE)
        for kind in ("hits", "misses")
    )
    return tuple(sum(map(float, values)) for values in found)


def test_one_probe_runs_every_network_and_every_step(server, url, tmp_path, monkeypatch):
    monkeypatch.setenv("FOVEA_CACHE", str(tmp_path))
    before = read_statistics(url)
    main(http_port=server.ports.http, grpc_port=server.ports.grpc, timeout_s=60, proof_s=0)
    assert set(ran_since(url, before)) == set(before) - COMPOSED


def test_users_requests_spare_the_probe_every_network(server, url, client, samples, probe):
    picture, _ = samples[0]
    client.main_object(picture, ["cat", "dog"])
    client.detect_and_segment(picture, ["cat"])
    client.segment(picture, points=[(9, 9)])
    client.classify(picture, ["cat"])
    client.embed_text("a cat")
    before = read_statistics(url)
    probe(server, proof_s=600).check("ready")
    assert ran_since(url, before) == {}


def test_the_probes_take_one_place_among_the_embeddings_of_users(
    server, url, client, samples, probe
):
    picture, _ = samples[1]
    client.segment(picture, points=[(9, 9)])
    _, misses = cache_counts(server)
    for _ in range(5):
        probe(server).check("ready")
    hits, now = cache_counts(server)
    assert now - misses <= 2  # a second one at the turn of the hour
    client.segment(picture, points=[(20, 20)])
    assert cache_counts(server) == (hits + 1, now)


def test_a_server_with_more_callers_than_it_can_answer_stays_ready(server, url, trials, probe):
    trial, ended = trials[0], []
    once = RetryPolicy(attempts=1)

    def ask():
        with Client(url, timeout_s=60, retry=once) as caller:
            while not ended:
                caller.main_object(trial.image, trial.candidates)

    probe(server).check("ready")
    with ThreadPoolExecutor(16) as pool:
        asking = [pool.submit(ask) for _ in range(16)]
        try:
            for _ in range(8):
                probe(server, timeout_s=1.5).check("ready")
        finally:
            ended.append(True)
    for done in asking:
        done.result()


def test_a_server_with_one_verb_is_probed_for_it_alone(tmp_path, probe):
    models = {"detect", "preprocess_image", "grounding_dino", "grounding_dino_select_boxes"}
    repository = tmp_path / "models"
    repository.mkdir()
    for model in models:
        (repository / model).symlink_to((export_demo() / model).absolute())
    with demo_server(repository, exit_timeout_s=2) as server:
        before = read_statistics(server.grpc_url)
        probe(server).check("ready")
        assert ran_since(server.grpc_url, before) == dict.fromkeys(models, 1)


def test_a_dead_process_fails_both_levels_until_another_takes_its_place(probe):
    with demo_server(exit_timeout_s=2, restart_dead_backends=False) as server:
        probe(server).check("ready")
        kill_stub(server, "sam_select_masks")
        with pytest.raises(ProbeFailure, match=r"sam_select_masks.* is not healthy"):
            probe(server, look_at_processes=False).check("ready")
        for level in ("live", "ready"):
            with pytest.raises(ProbeFailure, match="1 backend processes are dead"):
                probe(server).check(level)
        server._admin().reload("sam_select_masks", timeout_s=60)
        # Triton keeps a dead process that a request has met, beside its replacement.
        until(lambda: answers(probe(server)))


@pytest.mark.faults
def test_whichever_process_dies_both_levels_fail_though_triton_says_it_is_ready(probe):
    with demo_server(exit_timeout_s=2, restart_dead_backends=False) as server:
        probe(server).check("ready")
        assert models_of(server) > set(NETWORKS)
        for model in sorted(models_of(server)):
            kill_stub(server, model)
            ready = urllib.request.urlopen(f"http://{server.http_url}/v2/health/ready")
            assert ready.status == 200
            for level in ("live", "ready"):
                with pytest.raises(ProbeFailure, match="1 backend processes are dead"):
                    probe(server).check(level)
            server._admin().reload(model, timeout_s=60)
            # Triton may keep the dead one beside its replacement.
            until(lambda: answers(probe(server)))


@pytest.mark.faults
def test_whichever_process_dies_a_request_finds_it_too(probe):
    with demo_server(exit_timeout_s=2, restart_dead_backends=False) as server:
        instances = {stub.instance for stub in stubs_of(server.pid)}
        # With two processes, the second answers half of the requests.
        single = {model for model in models_of(server) if f"{model}_0_1" not in instances}
        assert single > set(NETWORKS)
        probe(server).check("ready")
        for model in sorted(single):
            kill_stub(server, model)
            with pytest.raises(ProbeFailure, match=rf"{model}.* is not healthy"):
                probe(server, look_at_processes=False).check("ready")
            server._admin().reload(model, timeout_s=60)
            # Triton keeps a dead process that a request has met, beside its replacement.
            until(lambda: answers(probe(server)))


def models_of(server):
    """The models that have backend processes."""
    return {stub.instance.rsplit("_", 2)[0] for stub in stubs_of(server.pid)}


def answers(probe):
    """Whether the server is ready."""
    try:
        probe.check("ready")
    except ProbeFailure:
        return False
    return True


def until(condition, within_s=30):
    ends = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < ends, "too late"
        time.sleep(0.05)
