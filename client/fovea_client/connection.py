"""What both clients share: their options, and everything that they do except waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from fovea_client import channel, images
from fovea_client.answers import Answer, read_response
from fovea_client.calls import LINGER_S, Calls, Wait, Waits
from fovea_client.channel import Tls
from fovea_client.description import Description
from fovea_client.errors import (
    DeadlineExceeded,
    Failure,
    Overloaded,
    Unavailable,
    UnknownVerb,
    names_unknown_model,
    translate,
)
from fovea_client.images import Picture
from fovea_client.requests import Request
from fovea_client.retry import Attempts, Deadline, RetryPolicy
from fovea_client.verbs import Steps

T = TypeVar("T")
# A function returns the headers when a request is sent, in its caller's context.
RequestHeaders: TypeAlias = Mapping[str, str] | Callable[[], Mapping[str, str]]

DEFAULT_URL = "localhost:8001"
DEFAULT_TIMEOUT_S = 30.0
DEFAULT_RETRY = RetryPolicy()
READY_TIMEOUT_S = 5.0
READY_REQUEST = service_pb2.ServerReadyRequest()
ALL_MODELS = service_pb2.ModelStatisticsRequest()


class Connection:
    """The options of a client, and its channel, opened with the first call.

    url: "host:port" of Triton's gRPC endpoint, or any gRPC target: for a name with several
    addresses ("dns:///name:8001") or a list ("ipv4:10.0.0.1:8001,10.0.0.2:8001"), all take turns.
    timeout_s: seconds for a call with all its retries, unless the call sets its own;
    `math.inf` is no limit. retry: when a failed request is sent again.
    tls: encrypts the channel; None leaves it plain. headers: sent with every request, such as
    the authorization for a gateway; a function is called for each request in its caller's context,
    so that it can return the trace that the request belongs to.
    jpeg_quality: send pixels as JPEG of this quality (1 to 95) instead of PNG.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: RetryPolicy = DEFAULT_RETRY,
        tls: Tls | None = None,
        headers: RequestHeaders | None = None,
        jpeg_quality: int | None = None,
    ) -> None:
        self.url = channel.check_url(url)
        self.timeout_s = Deadline(timeout_s).timeout_s
        self.retry = retry
        self._tls = tls
        self._headers = headers
        self._jpeg_quality = jpeg_quality
        self._lock = threading.Lock()
        self._calls: Calls | None = None
        self._stub: Any = None
        self._closed = False

    @property
    def abandoned(self) -> int:
        """The number of requests that the server still works on after their callers left."""
        return 0 if self._calls is None else self._calls.abandoned

    def _open(self) -> Calls:
        with self._lock:
            if self._closed:
                raise Unavailable("this client is closed")
            if self._calls is None:
                opened = channel.open_channel(self.url, self._tls)
                self._stub = service_pb2_grpc.GRPCInferenceServiceStub(opened)
                self._calls = Calls(opened)
            return self._calls

    def _close(self) -> None:
        with self._lock:
            self._closed = True
        if self._calls is not None:
            self._calls.close(Unavailable("this client was closed during the call"))

    def _ask(self, steps: Steps[T], timeout_s: float | None) -> Waits[T]:
        """The result of a verb."""
        deadline = Deadline(self.timeout_s if timeout_s is None else timeout_s)
        try:
            request = next(steps)
            while True:
                request = steps.send((yield from self._infer(request, deadline)))
        except StopIteration as end:
            result: T = end.value
            return result

    def _infer(self, request: Request, deadline: Deadline) -> Waits[Answer]:
        """The answer to one request, which is sent again as the retry policy allows."""
        attempts = Attempts(self.retry, deadline)
        while True:
            left_s = attempts.timeout_s()
            try:
                response = yield from self._attempt(request, left_s, deadline.timeout_s)
                return read_response(response)
            except grpc.RpcError as error:
                if names_unknown_model(error, request.model):
                    yield from self._check_model(request.model, error)
                failure = translate(error, self.url)
            except (Overloaded, DeadlineExceeded) as error:
                failure = Failure(error, isinstance(error, Overloaded))
            yield Wait(None, attempts.delay_after(failure))

    def _attempt(self, request: Request, left_s: float | None, timeout_s: float) -> Waits[Any]:
        """The response; the call goes on if its caller leaves."""
        calls, message = self._open(), request.message(left_s)
        linger_s = None if left_s is None else left_s + LINGER_S
        infer, metadata = self._stub.ModelInfer, self._metadata()
        call = calls.start(lambda: infer.future(message, linger_s, metadata))
        try:
            yield Wait(call, left_s)
        finally:
            if not call.outcome.done():
                calls.abandon(call)
        if not call.outcome.done():
            raise DeadlineExceeded(f"{self.url}: no answer within {timeout_s:g} s")
        return call.outcome.result()

    def _check_model(self, model: str, error: grpc.RpcError) -> Waits[None]:
        """Raise UnknownVerb unless a server is still starting, or one has the model after all."""
        try:
            server = yield from self._health("ServerReady", READY_REQUEST, READY_TIMEOUT_S)
            request = service_pb2.ModelReadyRequest(name=model)
            there = yield from self._health("ModelReady", request, READY_TIMEOUT_S)
        except grpc.RpcError:
            return
        if server.ready and not there.ready:
            raise UnknownVerb(f"the server at {self.url} has no {model!r}") from error

    def _check_ready(self, timeout_s: float) -> Waits[None]:
        try:
            answer = yield from self._health("ServerReady", READY_REQUEST, timeout_s)
        except grpc.RpcError as error:
            raise translate(error, self.url).error from error
        if not answer.ready:
            raise Unavailable(f"{self.url}: the server is starting, or one of its models is")

    def _describe(self, verb: str, timeout_s: float) -> Waits[Description]:
        try:
            parameters = yield from self._parameters(verb, timeout_s)
        except grpc.RpcError as error:
            yield from self._check_model(verb, error)
            raise translate(error, self.url).error from error
        return Description.from_parameters(verb, parameters)

    def _verbs(self, timeout_s: float) -> Waits[tuple[Description, ...]]:
        try:
            # Statistics of all models list only the loaded ones; an index is for administrators.
            counted = yield from self._health("ModelStatistics", ALL_MODELS, timeout_s)
            found = []
            for name in sorted({model.name for model in counted.model_stats}):
                parameters = yield from self._parameters(name, timeout_s)
                if Description.is_verb(parameters):
                    found.append(Description.from_parameters(name, parameters))
        except grpc.RpcError as error:
            raise translate(error, self.url).error from error
        return tuple(found)

    def _parameters(self, model: str, timeout_s: float) -> Waits[dict[str, str]]:
        """The parameters of a model's configuration."""
        request = service_pb2.ModelConfigRequest(name=model)
        answer = yield from self._health("ModelConfig", request, timeout_s)
        return {key: value.string_value for key, value in answer.config.parameters.items()}

    def _health(self, method: str, message: Any, timeout_s: float) -> Waits[Any]:
        """An answer about the server or a model; these calls are safe with gRPC's own deadline."""
        calls = self._open()
        ask, metadata = getattr(self._stub, method).future, self._metadata()
        call = calls.start(lambda: ask(message, timeout_s, metadata))
        yield Wait(call, None)
        return call.outcome.result()

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        """The headers of a request."""
        return channel.to_metadata(self._headers() if callable(self._headers) else self._headers)

    def _encode(self, image: Picture) -> bytes:
        return images.encode(image, jpeg_quality=self._jpeg_quality)
