"""What a load is put on: a network, an ensemble, or a verb of the client."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from fovea_client import Client, channel
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import np_to_triton_dtype

from benchmarks.figures import timed
from benchmarks.loads import Call
from benchmarks.questions import VERBS, Question, Verb
from export.network import Network

Kind = Literal["network", "ensemble", "verb"]
# Sends a message and returns the answer, not decoded; raises grpc.RpcError.
Infer = Callable[[Any], Any]
# Requests differ, so that no answer comes from a cache; numbers are written into this many bytes.
MARK_BYTES = 8


@dataclass(frozen=True)
class Target:
    """Something that answers requests by their number.

    request_bytes, response_bytes: of one message, as protobuf; those of a verb are its
    ensemble's. seconds: what the first request took.
    """

    kind: Kind
    name: str
    call: Call
    request_bytes: int
    response_bytes: int
    seconds: float

    @property
    def key(self) -> str:
        """ "ensemble main_object"."""
        return f"{self.kind} {self.name}"


@contextmanager
def open_wire(url: str) -> Iterator[Infer]:
    """Triton's gRPC endpoint without a client library around it."""
    with channel.open_channel(url, None) as opened:
        yield service_pb2_grpc.GRPCInferenceServiceStub(opened).ModelInfer


@dataclass(frozen=True)
class Pool:
    """Pictures that all who share the pool ask about in turn, over and over.

    The next use of a picture comes after those of all others: a cache with room for half of them
    never has the answer.
    """

    questions: Sequence[Question]
    turns: Iterator[int] = field(default_factory=itertools.count)

    def next_index(self) -> int:
        """The index of the next question."""
        return next(self.turns) % len(self.questions)


def ensemble_target(infer: Infer, verb: Verb, pool: Pool) -> Target:
    """The ensemble behind a verb: prepared messages, answers not decoded."""
    messages = [verb.request(question).message(None) for question in pool.questions]
    return _measured("ensemble", verb.name, infer, lambda: messages[pool.next_index()])


def verb_target(client: Client, verb: Verb, pool: Pool, same: Target) -> Target:
    """A verb as users call it; `same` is its ensemble."""

    def call(_: int) -> object:
        return verb.ask(client, pool.questions[pool.next_index()])

    return replace(same, kind="verb", call=call)


def network_target(infer: Infer, network: Network) -> Target:
    """A network alone, on its own sample, whose first pixels hold the number of the request."""
    sample = {name: np.ascontiguousarray(a) for name, a in network.sample(1, 0).items()}
    contents = {name: array.tobytes() for name, array in sample.items()}
    marks = itertools.count()  # each load begins with request 0 again

    def message() -> Any:
        mark = next(marks).to_bytes(MARK_BYTES, "little")
        request = service_pb2.ModelInferRequest(model_name=network.spec.name)
        for name, array in sample.items():
            kind, content = np_to_triton_dtype(array.dtype), contents[name]
            request.inputs.add(name=name, datatype=kind, shape=array.shape)
            marked = mark + content[MARK_BYTES:] if array.dtype == np.uint8 else content
            request.raw_input_contents.append(marked)
        return request

    return _measured("network", network.spec.name, infer, message)


def _measured(kind: Kind, name: str, infer: Infer, message: Callable[[], Any]) -> Target:
    """A target, with the sizes of one request and its answer."""
    request = message()
    answer, seconds = timed(infer, request)
    sizes = request.ByteSize(), answer.ByteSize()
    return Target(kind, name, lambda _: infer(message()), *sizes, seconds)


@contextmanager
def all_targets(
    client: Client, asked: Sequence[Question], networks: Iterable[Network]
) -> Iterator[list[Target]]:
    """Every network, ensemble and verb of the client's server."""
    with open_wire(client.url) as infer:
        # An ensemble and its verb share a pool; another verb in between must not skip a picture.
        pools = {verb.name: Pool(asked) for verb in VERBS}
        ensembles = [ensemble_target(infer, verb, pools[verb.name]) for verb in VERBS]
        pairs = zip(VERBS, ensembles, strict=True)
        yield [
            *ensembles,
            *(network_target(infer, network) for network in networks),
            *(verb_target(client, verb, pools[verb.name], same) for verb, same in pairs),
        ]
