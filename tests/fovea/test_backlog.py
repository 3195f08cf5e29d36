from fovea.backlog import LOOK_AGAIN_S, LOOK_EVERY, Backlog, parse_pending, read_pending

METRICS = b"""\
# TYPE nv_inference_pending_request_count gauge
nv_inference_pending_request_count{model="grounding_dino",version="1"} 131
nv_inference_pending_request_count{version="1",model="clip"} 0
nv_inference_count{model="grounding_dino",version="1"} 7
"""


class Pending:
    """What waits, as a test sets it, and how often somebody looked."""

    def __init__(self, **waiting):
        self.waiting, self.looks, self.now = waiting, 0, 0.0

    def read(self):
        self.looks += 1
        return dict(self.waiting)

    def backlog(self, limit=10):
        return Backlog(self.read, limit, clock=lambda: self.now)


def test_a_look_is_taken_once_in_so_many_requests():
    pending = Pending()
    backlog = pending.backlog()
    assert all(backlog.room_for(["a"]) for _ in range(3 * LOOK_EVERY))
    assert pending.looks == 2


def test_no_more_is_taken_while_too_much_waits_for_a_model_that_is_asked():
    pending = Pending(a=10, b=3)
    backlog = pending.backlog()
    taken = [backlog.room_for(["a", "b"]) for _ in range(LOOK_EVERY + 5)]
    assert taken == [True] * LOOK_EVERY + [False] * 5
    assert backlog.room_for(["b"])
    assert pending.looks == 1
    pending.waiting["a"] = 9
    pending.now += LOOK_AGAIN_S
    assert backlog.room_for(["a"])
    assert pending.looks == 2


def test_the_metrics_of_triton_are_read():
    assert parse_pending(METRICS) == {"grounding_dino": 131, "clip": 0}


def test_without_metrics_there_is_always_room(monkeypatch):
    monkeypatch.delenv("FOVEA_METRICS_URL", raising=False)
    assert read_pending() == {}
    monkeypatch.setenv("FOVEA_METRICS_URL", "http://127.0.0.1:1/metrics")
    assert read_pending() == {}
