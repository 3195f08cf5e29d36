"""The settings of a gateway."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fovea_client.connection import DEFAULT_URL

from fovea.limits import Limits

HOST, PORT = "127.0.0.1", 8080
LOOPBACK = ("127.0.0.1", "::1", "localhost")
# Base64 has four characters for three bytes; the rest of a body is its parameters.
PARAMETER_BYTES = 1024 * 1024
MAX_BODY_BYTES = Limits().image_bytes * 4 // 3 + PARAMETER_BYTES


@dataclass(frozen=True)
class Settings:
    """The options of `fovea web`.

    url: Triton's gRPC. store: of object search; None is no search. samples: a folder of pictures
    for the page. keys: the file of hashed API keys; None needs none. rate: for a key, or for an
    address if there are no keys, in the notation of the package `limits`.
    body_bytes: of a request, or of one line of a batch. body_idle_s: longest pause within a body in
    seconds, body_s: seconds for all of it. timeout_s: of a call unless the caller sets another, up
    to max_timeout_s. in_flight: requests at once. lines: of one batch at once. url_hosts: hosts
    that `image_url` may be fetched from; empty means none. hosts: names that a request may be
    addressed to besides those of loopback; None is any.
    """

    url: str = DEFAULT_URL
    store: str | None = None
    samples: Path | None = None
    keys: Path | None = None
    rate: str = "1200/minute"
    body_bytes: int = MAX_BODY_BYTES
    body_idle_s: float = 10.0
    body_s: float = 60.0
    timeout_s: float = 30.0
    max_timeout_s: float = 300.0
    in_flight: int = 64
    lines: int = 4
    url_hosts: tuple[str, ...] = ()
    hosts: tuple[str, ...] | None = ()
