"""The probe on servers that are busy, deaf or gone; tests/serving has it on the real pipeline."""

import json
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from fovea_server import probe_requests
from fovea_server.probe import Probe, ProbeFailure, main
from PIL import Image

QUEUE_FULL = {"error": "in ensemble 'detect', [request id: 7] Exceeds maximum queue size"}
BROKEN = {"error": "in ensemble 'detect', Stub process 'select_boxes_0_0' is not healthy."}


@pytest.fixture
def port():
    """A server whose answers to inferences are set by `answers`: status and JSON."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer(200, {})

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(*self.server.answer)

        def _answer(self, status, body):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answer = (200, {})
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def probe(server, **more):
    port = server.server_port
    return Probe(http_port=port, grpc_port=port, look_at_processes=False, timeout_s=5, **more)


def test_a_full_queue_is_busy_and_not_broken(port):
    port.answer = (503, QUEUE_FULL)
    probe(port).check("ready")


def test_a_broken_model_fails_with_tritons_reason(port):
    port.answer = (500, BROKEN)
    with pytest.raises(ProbeFailure, match=r"HTTP 500: .*select_boxes_0_0' is not healthy"):
        probe(port, models=("detect",)).check("ready")


def test_liveness_asks_no_model(port):
    port.answer = (500, BROKEN)
    probe(port).check("live")


def test_a_process_that_is_not_there_fails(port):
    with pytest.raises(ProbeFailure, match="no tritonserver of this user"):
        Probe(http_port=port.server_port, grpc_port=port.server_port).check("live")


def test_nobody_listening_is_one_line_and_exit_code_1(capsys):
    assert main(["live", "--http-port", "1"]) == 1
    assert capsys.readouterr().err.startswith("not live: ConnectionRefusedError")


def test_the_pictures_are_pngs_of_which_no_two_are_equal(tmp_path):
    pictures = [probe_requests.png(), probe_requests.png()]
    assert zlib.crc32(pictures[0]) != zlib.crc32(pictures[1])
    (tmp_path / "probe.png").write_bytes(pictures[0])
    assert np.asarray(Image.open(tmp_path / "probe.png")).shape == (16, 16, 3)
