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
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import hypothesis
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
from hypothesis import strategies as st
from rich.progress import Progress
from tritonclient.grpc import service_pb2_grpc

from tests.faults import mutations
from tests.faults.ledger import Ledger
from tests.faults.load import Questions, closed_loop, quiet_load
from tests.faults.report import Report, judged

REQUESTS = 20_000
SENDERS = 4
TIMEOUT_S = 120.0
# A request that is refused for its content must be refused as such.
CLEAR = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNIMPLEMENTED,
)
# What is wrong -> the errors that fit; a wrong tensor may be wrong in any way. Unavailable: a
# malformed tensor in the same batch also failed this request (see fovea_client.errors).
FITTING: dict[str, tuple[type[FoveaError], ...]] = {
    "picture": (InvalidImage, ImageTooLarge, InvalidPrompt, Unavailable),
    "text": (InvalidText, Unavailable),
    "prompt": (InvalidPrompt, Unavailable),
    "threshold": (InvalidThreshold, Unavailable),
}
# Triton answers 500 to JSON that it cannot read, and its message says so.
NOT_JSON = "parse"
HTTP_MODELS = ("embed_text", "detect", "segment", "no_such_model", "embed_text/versions/x")
PREFACES = {
    "grpc": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http": b"POST /v2/models/detect/infer HTTP/1.1\r\n",
}
# Makes hypothesis generate many examples and keep none.
MANY = hypothesis.settings(
    database=None,
    deadline=None,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)


@dataclass
class Attack:
    """Sends wrong requests to one server and sorts the answers.

    A sender returns what is unclear about the refusal, or "".
    """

    server: EmbeddedServer
    outcomes: Counter[str] = field(default_factory=Counter)
    unclear: Counter[str] = field(default_factory=Counter)
    lock: Any = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        channel = grpc.insecure_channel(self.server.grpc_url, options=CHANNEL_OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

    def shots(self, pictures: list[bytes]) -> st.SearchStrategy[Callable[[], str]]:
        """Senders of wrong requests: 16 of 20 gRPC, 2 HTTP, 2 random bytes to either port."""
        lengths = st.sampled_from([None, None, *map(str, mutations.ODD_SIZES), "x", ""])
        models, bodies = st.sampled_from(HTTP_MODELS), mutations.http_bodies()
        ports, data = st.sampled_from([*PREFACES]), st.binary(min_size=1, max_size=4096)
        grpc_shots = st.builds(partial, st.just(self.grpc), mutations.requests(pictures))
        http_shots = st.builds(partial, st.just(self.http), models, bodies, lengths)
        raw_shots = st.builds(partial, st.just(self.raw), ports, st.booleans(), data)
        kinds = [grpc_shots] * 16 + [http_shots] * 2 + [raw_shots] * 2
        return st.integers(0, len(kinds) - 1).flatmap(lambda number: kinds[number])

    def grpc(self, asked: mutations.Fuzzed) -> str:
        """Send one over gRPC."""
        try:
            self._stub.ModelInfer(asked.message, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            meaning = translate(error, "").error
            fitting = isinstance(meaning, FITTING.get(asked.kind, FoveaError))
            clear = error.code() in CLEAR and error.details() and fitting
            said = f"{asked.kind}, {error.code().name}: {error.details()}"
            return self._count(f"{asked.kind}: {type(meaning).__name__}", "" if clear else said)
        return self._count(f"{asked.kind}: answered")

    def http(self, model: str, body: bytes, length: str | None) -> str:
        """Send one over HTTP. length: of the JSON within the body, by its header."""
        headers = {"Content-Length": str(len(body))}
        headers |= {} if length is None else {"Inference-Header-Content-Length": length}
        connection = http.client.HTTPConnection(self.server.http_url, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            connection.request("POST", f"/v2/models/{model}/infer", body, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        clear = text and (answer.status < 500 or NOT_JSON in text)
        said = f"HTTP {answer.status}: {text[:200]} to {body[:80]!r}"
        return self._count(f"HTTP: {answer.status}", "" if clear else said)

    def raw(self, port: str, prefaced: bool, data: bytes) -> str:
        """Send random bytes to a port, with or without the beginning of its protocol."""
        address = ("127.0.0.1", getattr(self.server.ports, port))
        connection = socket.create_connection(address, TIMEOUT_S)
        with connection, contextlib.suppress(OSError):
            connection.sendall((PREFACES[port] if prefaced else b"") + data)
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(0.05)
            connection.recv(4096)
        return self._count("bytes: sent")

    def _count(self, outcome: str, unclear: str = "") -> str:
        with self.lock:
            self.outcomes[outcome] += 1
            self.unclear += Counter([unclear] if unclear else [])
        return unclear


def run(server: EmbeddedServer, *, requests: int = REQUESTS, seed: int = 0) -> Report:
    """Valid requests alone, then beside `requests` wrong ones."""
    with Client(server.grpc_url, timeout_s=TIMEOUT_S) as client:
        questions = Questions(client)
        before = quiet_load(questions.ask, max(20, requests // 100), callers=1)
        processes = processes_of(server)
        attack, beside = Attack(server), Ledger()
        began = time.perf_counter()
        with closed_loop(beside, questions.ask, callers=1):
            _send_all(attack, questions.pictures, requests, seed)
        seconds = time.perf_counter() - began
    account = beside.account()
    sent = attack.outcomes.total()
    ports = {"http_port": server.ports.http, "grpc_port": server.ports.grpc}
    Probe(**ports, timeout_s=TIMEOUT_S, proof_s=0).check("ready")
    return judged(
        "wrong requests and random bytes",
        before,
        account,
        seconds,
        {
            "wrong_requests": sent,
            "outcomes": dict(attack.outcomes),
            "unclear": dict(attack.unclear),
        },
        {
            "no valid request is refused": account.refused == 0,
            f"all {requests} are sent ({sent})": sent >= requests,
            "no process dies": processes_of(server) == processes,
            f"every refusal is clear ({attack.unclear.total()} not)": not attack.unclear,
        },
    )


def _send_all(attack: Attack, pictures: list[bytes], requests: int, seed: int) -> None:
    room = threading.Semaphore(2 * SENDERS)  # made as they are sent, not all before
    with ThreadPoolExecutor(SENDERS) as pool, Progress(transient=True) as progress:
        bar = progress.add_task("wrong requests", total=requests)

        def send(shot: Callable[[], str]) -> None:
            try:
                shot()
            finally:
                room.release()
                progress.advance(bar)

        @hypothesis.seed(seed)
        @hypothesis.settings(MANY, max_examples=requests)
        @hypothesis.given(attack.shots(pictures))
        def submit(shot: Callable[[], str]) -> None:
            room.acquire()
            pool.submit(send, shot)

        submit()


def processes_of(server: EmbeddedServer) -> tuple[int, frozenset[int]]:
    """tritonserver's process, and those of its living backends."""
    stubs = stubs_of(server.pid)
    return server.pid, frozenset(stub.process.pid for stub in stubs if not stub.is_zombie())
