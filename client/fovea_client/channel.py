"""Opens the gRPC channel: message sizes, balancing, reconnecting, TLS."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc

from fovea_client.errors import InvalidInput

MAX_SEND_BYTES = 64 * 1024 * 1024
UNLIMITED = -1

# A replaced server is found again within a second; gRPC's own default backs off to two minutes.
FIRST_RECONNECT_MS = 100
MAX_RECONNECT_MS = 1000

# Requests take turns among all addresses of a name; gRPC's own default stays with the first.
BALANCING = "round_robin"

CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.lb_policy_name", BALANCING),
    ("grpc.max_send_message_length", MAX_SEND_BYTES),
    ("grpc.max_receive_message_length", UNLIMITED),
    ("grpc.initial_reconnect_backoff_ms", FIRST_RECONNECT_MS),
    ("grpc.min_reconnect_backoff_ms", FIRST_RECONNECT_MS),
    ("grpc.max_reconnect_backoff_ms", MAX_RECONNECT_MS),
)


@dataclass(frozen=True)
class Tls:
    """PEM files for an encrypted channel.

    root_certificates: of the authorities for the server's certificate; None is gRPC's own list.
    private_key, certificate_chain: the client's own identity, for servers that ask for one.
    """

    root_certificates: Path | None = None
    private_key: Path | None = None
    certificate_chain: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files; InvalidInput if one cannot be read."""
        return grpc.ssl_channel_credentials(
            _read(self.root_certificates), _read(self.private_key), _read(self.certificate_chain)
        )


def open_channel(url: str, tls: Tls | None) -> grpc.Channel:
    """A channel that connects with the first call."""
    if tls is None:
        return grpc.insecure_channel(url, options=CHANNEL_OPTIONS)
    return grpc.secure_channel(url, tls.credentials(), options=CHANNEL_OPTIONS)


def check_url(url: str) -> str:
    """`url` as "host:port" of the server's gRPC endpoint; InvalidInput for http:// and the like."""
    if url.startswith(("http://", "https://", "grpc://")) or not url:
        raise InvalidInput(f"expected host:port of the gRPC endpoint, got {url!r}")
    return url


def to_metadata(headers: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """Headers as gRPC metadata, whose names are in lower case."""
    return tuple((name.lower(), value) for name, value in (headers or {}).items())


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidInput(f"expected a readable PEM file, got {path}: {error.strerror}") from error
