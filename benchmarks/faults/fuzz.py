"""Wrong requests and random bytes by the thousand, with valid requests beside them."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
from fovea_client import (
    Client,
    FoveaError,
    ImageTooLarge,
    InvalidImage,
    InvalidPrompt,
    InvalidText,
    InvalidThreshold,
    Unavailable,
)
from fovea_client.channel import CHANNEL_OPTIONS
from fovea_client.errors import translate
from fovea_server import EmbeddedServer
from fovea_server.probe import Probe
from fovea_server.stubs import stubs_of
from rich.progress import Progress
from tritonclient.grpc import service_pb2_grpc

from benchmarks.faults import mutations
from benchmarks.faults.ledger import Ledger
from benchmarks.faults.load import Questions, closed_loop, quiet_load
from benchmarks.faults.report import Report, broken, nothing_lost

REQUESTS = 20_000
SHARES = {"gRPC": 0.8, "HTTP": 0.1, "bytes to gRPC": 0.05, "bytes to HTTP": 0.05}
SENDERS = 4
TIMEOUT_S = 120.0
# A request that is refused for its content must be refused as such.
CLEAR = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNIMPLEMENTED,
)
# What is wrong -> the errors that say so; a wrong tensor may be wrong in any way. Unavailable: a
# malformed tensor in the same batch failed this request as well (see fovea_client.errors).
FITTING: dict[str, tuple[type[FoveaError], ...]] = {
    "picture": (InvalidImage, ImageTooLarge, InvalidPrompt, Unavailable),
    "text": (InvalidText, Unavailable),
    "prompt": (InvalidPrompt, Unavailable),
    "threshold": (InvalidThreshold, Unavailable),
}
# Triton answers 500 to JSON that it cannot read, and says that it is that.
NOT_JSON = "parse"
HTTP_PATHS = ("embed_text", "detect", "segment", "no_such_model", "embed_text/versions/x")


class Attack:
    """Sends wrong requests to one server and sorts what comes back."""

    def __init__(self, server: EmbeddedServer, pictures: list[bytes]) -> None:
        self._server = server
        self._pictures = pictures
        self._lock = threading.Lock()
        self.outcomes: Counter[str] = Counter()
        self.unclear: Counter[str] = Counter()
        channel = grpc.insecure_channel(server.grpc_url, options=CHANNEL_OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

    def grpc(self, seed: int) -> None:
        """One mutated request over gRPC."""
        asked = mutations.fuzzed(seed, self._pictures)
        try:
            self._stub.ModelInfer(asked.message, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            meaning = translate(error, "").error
            self._count(f"{asked.kind}: {type(meaning).__name__}")
            fitting = isinstance(meaning, FITTING.get(asked.kind, FoveaError))
            if error.code() not in CLEAR or not error.details() or not fitting:
                self._count_unclear(f"{asked.kind}, {error.code().name}: {error.details()}")
            return
        self._count(f"{asked.kind}: answered")

    def http(self, seed: int) -> None:
        """One mutated request over HTTP."""
        rng = np.random.default_rng(seed)
        body = mutations.http_body(rng)
        headers = {"Content-Length": str(len(body))}
        if rng.random() < 0.3:
            length = str(rng.choice([*map(str, mutations.ODD_SIZES), "x", ""]))
            headers["Inference-Header-Content-Length"] = length
        path = f"/v2/models/{rng.choice(HTTP_PATHS)}/infer"
        connection = http.client.HTTPConnection(self._server.http_url, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        self._count(f"HTTP: {answer.status}")
        clear = answer.status < 500 or NOT_JSON in text
        if not text or not clear:
            self._count_unclear(f"HTTP {answer.status}: {text[:200]} to {body[:80]!r}")

    def bytes_to_grpc(self, seed: int) -> None:
        """Random bytes to gRPC's port."""
        self._send_bytes(seed, self._server.ports.grpc, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

    def bytes_to_http(self, seed: int) -> None:
        """Random bytes to HTTP's port."""
        self._send_bytes(
            seed, self._server.ports.http, b"POST /v2/models/detect/infer HTTP/1.1\r\n"
        )

    def _send_bytes(self, seed: int, port: int, preface: bytes) -> None:
        rng = np.random.default_rng(seed)
        data = (preface if rng.random() < 0.5 else b"") + rng.bytes(int(rng.integers(1, 4096)))
        connection = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        with connection, contextlib.suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.05)
            connection.recv(4096)
        self._count("bytes: sent")

    def _count(self, outcome: str) -> None:
        with self._lock:
            self.outcomes[outcome] += 1

    def _count_unclear(self, message: str) -> None:
        with self._lock:
            self.unclear[message] += 1


def run(server: EmbeddedServer, *, requests: int = REQUESTS, seed: int = 0) -> Report:
    """Valid requests alone, then beside `requests` wrong ones."""
    with Client(server.grpc_url, timeout_s=TIMEOUT_S) as client:
        questions = Questions(client)
        ask = questions.asker(client)
        before = quiet_load(ask, max(20, requests // 100), callers=1)
        processes = _processes(server)
        attack, beside = Attack(server, questions.pictures), Ledger()
        began = time.perf_counter()
        with closed_loop(beside, ask, callers=1):
            _send_all(attack, requests, seed)
        seconds = time.perf_counter() - began
    account = beside.account()
    sent = sum(attack.outcomes.values())
    Probe(http_port=server.ports.http, grpc_port=server.ports.grpc, timeout_s=TIMEOUT_S).check(
        "ready"
    )
    return Report(
        "wrong requests and random bytes",
        before.account(),
        account,
        seconds,
        {
            "wrong_requests": sent,
            "outcomes": dict(attack.outcomes),
            "unclear": dict(attack.unclear),
        },
        broken(
            nothing_lost(account)
            | {
                "no valid request is refused": account.refused == 0,
                f"all {requests} are sent ({sent})": sent == requests,
                "no process dies": _processes(server) == processes,
                f"every refusal is clear ({sum(attack.unclear.values())} not)": not attack.unclear,
            }
        ),
    )


def _send_all(attack: Attack, requests: int, seed: int) -> None:
    kinds: dict[str, Callable[[int], None]] = {
        "gRPC": attack.grpc,
        "HTTP": attack.http,
        "bytes to gRPC": attack.bytes_to_grpc,
        "bytes to HTTP": attack.bytes_to_http,
    }
    chosen = np.random.default_rng(seed).choice(list(kinds), requests, p=list(SHARES.values()))

    def send(number: int) -> None:
        kinds[str(chosen[number])](seed * requests + number)

    with ThreadPoolExecutor(SENDERS) as pool, Progress(transient=True) as progress:
        for _ in progress.track(
            pool.map(send, range(requests)), total=requests, description="wrong requests"
        ):
            pass


def _processes(server: EmbeddedServer) -> tuple[int, frozenset[int]]:
    stubs = stubs_of(server.pid)
    return server.pid, frozenset(stub.process.pid for stub in stubs if not stub.is_zombie())
