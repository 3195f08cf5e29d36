"""What both clients are made of: their options, and how these meet gRPC."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, ClassVar

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from fovea_client import channel, images
from fovea_client.channel import Tls
from fovea_client.errors import Failure, Unavailable, translate
from fovea_client.images import Picture
from fovea_client.retry import Deadline, RetryPolicy

DEFAULT_URL = "localhost:8001"
DEFAULT_TIMEOUT_S = 30.0
DEFAULT_RETRY = RetryPolicy()
READY_TIMEOUT_S = 5.0
READY_REQUEST = service_pb2.ServerReadyRequest()


class Connection:
    """The options of a client, and its channel, opened with the first call.

    url: "host:port" of Triton's gRPC endpoint, or any target of gRPC: of a name with several
    addresses ("dns:///name:8001") or a list ("ipv4:10.0.0.1:8001,10.0.0.2:8001") all take turns.
    timeout_s: seconds for a call with all its retries, unless the call says otherwise;
    `math.inf` is no limit. retry: when a failed request is sent again.
    tls: encrypts the channel; None leaves it plain. headers: sent with every request, such as
    the authorization that a gateway asks for.
    jpeg_quality: pixels are sent as JPEG of this quality (1 to 95), not as PNG.
    """

    _grpc: ClassVar[Any]

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: RetryPolicy = DEFAULT_RETRY,
        tls: Tls | None = None,
        headers: Mapping[str, str] | None = None,
        jpeg_quality: int | None = None,
    ) -> None:
        self.url = channel.check_url(url)
        self.timeout_s = Deadline(timeout_s).timeout_s
        self.retry = retry
        self._tls = tls
        self._metadata = channel.to_metadata(headers)
        self._jpeg_quality = jpeg_quality
        self._lock = threading.Lock()
        self._channel: Any = None
        self._opened_stub: Any = None
        self._closed = False

    @property
    def _stub(self) -> Any:
        with self._lock:
            if self._closed:
                raise Unavailable("this client is closed")
            if self._opened_stub is None:
                self._channel = channel.open_channel(self._grpc, self.url, self._tls)
                self._opened_stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
            return self._opened_stub

    def _close(self) -> Any:
        """The channel to close, None if none was opened."""
        with self._lock:
            self._closed = True
            return self._channel

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline(self.timeout_s if timeout_s is None else timeout_s)

    def _options(self, timeout_s: float | None) -> dict[str, Any]:
        return {"timeout": timeout_s, "metadata": self._metadata}

    def _encode(self, image: Picture) -> bytes:
        return images.encode(image, jpeg_quality=self._jpeg_quality)

    def _translate(self, error: grpc.RpcError) -> Failure:
        if self._closed:
            return Failure(Unavailable("this client was closed during the call"), False, error)
        return translate(error, self.url)
