"""ASGI middleware that every request passes before its route."""

from __future__ import annotations

import logging
import re
import time
import uuid
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fovea_web import problems
from fovea_web.keys import Keys
from fovea_web.metrics import Metrics
from fovea_web.problems import Busy, UnknownHost
from fovea_web.rates import Rates
from fovea_web.settings import LOOPBACK, Settings

log = logging.getLogger("fovea_web")

API = "/v1/"
# In a request's scope: a function that waits until its caller may send one more request.
ADMIT = "fovea.admit"
REQUEST_ID = "x-request-id"
_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Observed:
    """Gives each request an id and each answer the common headers, and counts both.

    Unexpected failures are logged, and answered without their cause.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = _Seen(_request_id(scope), receive, send)
        with self._metrics.in_flight.track_inprogress():
            try:
                await self._app(scope, seen.receive, seen.send)
            except Exception as error:
                log.exception("request %s failed", seen.id)
                if not seen.status:
                    await problems.to_response(error)(scope, seen.receive, seen.send)
            finally:
                self._metrics.observe(scope, seen.status, seen.elapsed_s, seen.came, seen.sent)


@dataclass
class _Seen:
    """One request's channels. came, sent: bytes of the bodies. status: 0 before the answer."""

    id: str
    _receive: Receive
    _send: Send
    status: int = 0
    came: int = 0
    sent: int = 0

    def __post_init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self._start

    async def receive(self) -> Message:
        message = await self._receive()
        self.came += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._add_headers(message)
        self.sent += len(message.get("body", b""))
        await self._send(message)

    def _add_headers(self, message: Message) -> None:
        headers = MutableHeaders(scope=message)
        headers[REQUEST_ID] = self.id
        total = f"fovea;dur={1000 * self.elapsed_s:.1f}"
        steps = headers.get("server-timing")
        headers["server-timing"] = f"{steps}, {total}" if steps else total
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("cache-control", "no-store")


class Admitted:
    """Checks each caller: the right host, a key, the rate, and the requests at once."""

    def __init__(self, app: ASGIApp, settings: Settings, keys: Keys | None, rates: Rates) -> None:
        self._app, self._keys, self._rates = app, keys, rates
        self._hosts = None if settings.hosts is None else {*LOOPBACK, *settings.hosts}
        self._most, self._in_flight = settings.in_flight, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check_host(headers.get("host", ""))
            if not scope["path"].startswith(API):
                await self._app(scope, receive, send)
                return
            caller = self._caller(scope, headers)
            await self._rates.check(caller)
            scope[ADMIT] = partial(self._rates.wait, caller)
            if self._in_flight >= self._most:
                raise Busy(f"expected at most {self._most} requests at once")
        except problems.Refused as error:
            await problems.to_response(error)(scope, receive, send)
            return
        self._in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1

    def _check_host(self, host: str) -> None:
        """Another name belongs to a page that made a browser connect here."""
        name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
        if self._hosts is not None and name.strip("[]").lower() not in self._hosts:
            known = ", ".join(sorted(self._hosts))
            raise UnknownHost(f"expected one of the hosts {known}, got {host[:80]!r}")

    def _caller(self, scope: Scope, headers: Headers) -> str:
        """The name of the key, or the address."""
        if self._keys is not None:
            return f"key {self._keys.check(headers.get('authorization'))}"
        client: Any = scope.get("client")
        return f"address {client[0] if client else 'unknown'}"


def _request_id(scope: Scope) -> str:
    """The caller's own if it is fit for logs, else a new one."""
    given = Headers(scope=scope).get(REQUEST_ID, "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
