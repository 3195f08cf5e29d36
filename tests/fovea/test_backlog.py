import pytest

from fovea.backlog import (
    LOOK_AGAIN_S,
    LOOK_EVERY,
    Backlog,
    Load,
    Work,
    parse_loads,
    read_loads,
)

METRICS = b"""\
# TYPE nv_inference_pending_request_count gauge
nv_inference_pending_request_count{model="grounding_dino",version="1"} 131
nv_inference_pending_request_count{version="1",model="clip"} 0
nv_inference_request_success{model="grounding_dino",version="1"} 40
nv_inference_exec_count{model="grounding_dino",version="1"} 10
nv_inference_count{model="grounding_dino",version="1"} 70
nv_inference_compute_infer_duration_us{model="grounding_dino",version="1"} 8e+06
nv_inference_queue_duration_us{model="grounding_dino",version="1"} 5
"""
# Triton has one series without a device for what waits for the whole model, and one for each
# device, which it never counts up.
ON_TWO_GPUS = b"""\
nv_inference_pending_request_count{model="clip",version="1"} 57
nv_inference_pending_request_count{gpu_uuid="GPU-1",model="clip",version="1"} 0
nv_inference_pending_request_count{gpu_uuid="GPU-2",model="clip",version="1"} 0
nv_inference_request_success{gpu_uuid="GPU-1",model="clip",version="1"} 30
nv_inference_request_success{gpu_uuid="GPU-2",model="clip",version="1"} 10
nv_inference_exec_count{gpu_uuid="GPU-1",model="clip",version="1"} 6
nv_inference_exec_count{gpu_uuid="GPU-2",model="clip",version="1"} 4
nv_inference_compute_infer_duration_us{gpu_uuid="GPU-1",model="clip",version="1"} 3000000
nv_inference_compute_infer_duration_us{gpu_uuid="GPU-2",model="clip",version="1"} 1000000
"""


class Server:
    """Loads of models set by a test, the number of reads, and the time."""

    def __init__(self, **waiting):
        self.loads = {model: Load(number) for model, number in waiting.items()}
        self.looks, self.now = 0, 0.0

    def read(self):
        self.looks += 1
        return dict(self.loads)

    def backlog(self, limit=10, **instances):
        return Backlog(self.read, limit, instances, clock=lambda: self.now)

    def wait(self):
        self.now += LOOK_AGAIN_S


def test_metrics_are_read_once_in_so_many_requests():
    server = Server()
    backlog = server.backlog()
    assert all(backlog.room_for(["a"]) for _ in range(3 * LOOK_EVERY))
    assert server.looks == 3


def test_no_request_is_taken_while_too_many_wait_for_its_model():
    server = Server(a=10, b=3)
    backlog = server.backlog()
    assert not any(backlog.room_for(["a", "b"]) for _ in range(5))
    assert backlog.room_for(["b"])
    assert server.looks == 1
    server.loads["a"] = Load(9)
    server.wait()
    assert backlog.room_for(["a"])
    assert server.looks == 2


def test_no_request_is_taken_that_its_model_cannot_reach_in_time():
    """Executions of 4 requests take 12 s, so that one costs 3 s."""
    server = Server()
    server.loads["slow"] = Load(5, Work(requests=8, executions=2, compute_s=8 * 12.0))
    backlog = server.backlog(limit=100)
    assert not backlog.room_for(["slow"], patience_s=14)
    taken = [backlog.room_for(["slow"], patience_s=24) for _ in range(6)]
    assert taken == [True] * 4 + [False] * 2, "what was taken waits too"
    assert backlog.room_for(["fast"], patience_s=0.1)
    assert backlog.room_for(["slow"], patience_s=60)


def test_more_instances_and_devices_reach_more_requests_in_the_same_time():
    server = Server()
    server.loads["slow"] = Load(10, Work(requests=1, executions=1, compute_s=6.0), devices=2)
    assert not server.backlog(limit=100).room_for(["slow"], patience_s=25)
    assert server.backlog(limit=100, slow=3).room_for(["slow"], patience_s=10)


def test_the_time_for_a_request_follows_recent_measurements():
    server = Server()
    work = Work(requests=10, executions=10, compute_s=10.0)
    server.loads["a"] = Load(10, work)
    backlog = server.backlog(limit=100)
    assert not backlog.room_for(["a"], patience_s=5)
    for _ in range(6):  # an execution takes 0.1 s now
        work = work.plus(Work(requests=10, executions=10, compute_s=1.0))
        server.loads["a"] = Load(10, work)
        server.wait()
        backlog.room_for(["a"], patience_s=0)
    assert backlog.room_for(["a"], patience_s=2)
    server.wait()
    assert not backlog.room_for(["a"], patience_s=0.5), "without new executions the time stays"


def test_a_reloaded_model_counts_from_zero():
    server = Server()
    server.loads["a"] = Load(0, Work(requests=900, executions=900, compute_s=9.0))
    backlog = server.backlog(limit=100)
    assert backlog.room_for(["a"], patience_s=1)
    server.loads["a"] = Load(50, Work(requests=200, executions=200, compute_s=400.0))
    server.wait()
    for _ in range(LOOK_EVERY):
        backlog.room_for(["a"], patience_s=60)
    assert not backlog.room_for(["a"], patience_s=10)


def test_the_metrics_of_triton_are_read():
    loads = parse_loads(METRICS)
    assert loads == {
        "grounding_dino": Load(131, Work(requests=40, executions=10, compute_s=8.0)),
        "clip": Load(),
    }
    assert loads["grounding_dino"].work.request_s == pytest.approx(0.05)


def test_the_series_of_all_devices_are_summed():
    assert parse_loads(ON_TWO_GPUS) == {
        "clip": Load(57, Work(requests=40, executions=10, compute_s=4.0), devices=2)
    }


def test_without_metrics_there_is_always_room(monkeypatch):
    monkeypatch.delenv("FOVEA_METRICS_URL", raising=False)
    assert read_loads() == {}
    monkeypatch.setenv("FOVEA_METRICS_URL", "http://127.0.0.1:1/metrics")
    assert read_loads() == {}
    assert Backlog(read_loads, 1).room_for(["a"], patience_s=0.0)
